from nucleus_data.corpus.published import publish, published
from nucleus_data.corpus.store import Store
from nucleus_data.corpus.tables import Table
from nucleus_data.world.corpora import small_corpus


def test_a_selection_is_there_once_it_is_published(tmp_path):
    corpus = small_corpus(tmp_path, shards=1)
    assert published(corpus.store, "x") is None
    publish(corpus.store, "x", {"records": 5})
    assert published(corpus.store, "x") == {"records": 5}
    assert Table(corpus.store, "selection", "x").part_names() == []


def test_the_first_to_publish_is_who_did(tmp_path):
    store = Store(str(tmp_path))
    publish(store, "x", {"b": 1, "a": [2]}, indent=1)
    publish(store, "x", {"b": 7})
    assert published(store, "x") == {"a": [2], "b": 1}
    assert store.read("x/_published.json") == b'{\n "a": [\n  2\n ],\n "b": 1\n}'

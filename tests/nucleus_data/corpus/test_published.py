from nucleus_data.corpus.published import publish, published
from nucleus_data.corpus.tables import Table
from nucleus_data.world.corpora import small_corpus


def test_a_selection_is_there_once_it_is_published(tmp_path):
    corpus = small_corpus(tmp_path, shards=1)
    assert published(corpus.store, "x") is None
    publish(corpus.store, "x", {"records": 5})
    assert published(corpus.store, "x") == {"records": 5}
    assert Table(corpus.store, "selection", "x").part_names() == []

"""Listings that are remembered: asked for once, and anew once something is written."""

from nucleus_data.corpus.store import Store
from nucleus_data.world.throttled import counted, throttled


def test_a_folder_is_listed_once_where_listings_are_remembered(tmp_path):
    store = Store(*throttled(tmp_path))
    store.create("f/a b", b"")
    with counted() as requests, store.listing_once(), store.without(["x"]).listing_once():
        assert store.list("f") == store.list("f") == ["a b"]
        assert store.list("none") == []
        assert (store.lacks("f/a b"), store.lacks("f/a"), store.lacks("none/a")) == (
            False,
            True,
            True,
        )
        assert requests.count("list") == 2
        store.create("f/c", b"")
        assert store.list("f") == ["a b", "c"]
    assert not store.lacks("f/other")  # nothing is known any more
    store.fs.pipe_file(store.path("f/d"), b"")
    assert store.list("f") == ["a b", "c", "d"]

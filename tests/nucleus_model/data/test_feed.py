import numpy as np
import pytest

from nucleus_model.data.batches import Cursor, Share
from nucleus_model.data.feed import joined_blocks, worker_count
from tests.support.loading import STREAMS, Opened
from tests.support.model import colored_items, write_set
from tests.support.sets import make_set


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_set(tmp_path_factory.mktemp("feed") / "set", {"64/1x1": 20, "64/4x3": 9}).url()


@pytest.fixture(scope="module")
def whole(folder):
    return {"exact": Opened(folder).batches(14), "streams": Opened(folder, **STREAMS).batches(14)}


def order(name):
    return STREAMS if name == "streams" else {}


def test_pictures_and_captions_are_those_of_the_ids(folder):
    made = Opened(folder, caption_dropout=0.0)
    by_id = {sample.id: sample for sample in made.set.samples}
    for _, slots, ids, captions, pixels in made.batches(8):
        assert slots == len(ids)
        width, height = by_id[ids[0]].bucket
        images = np.frombuffer(pixels, np.uint8).reshape(len(ids), height, width, 3)
        for ident, caption, image in zip(ids, captions, images, strict=True):
            assert caption in by_id[ident].captions
            assert (image == made.set.image(by_id[ident])).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "workers"), [("streams", 1), ("exact", 2), ("exact", 3), ("streams", 4)]
)
def test_the_same_batches_come_whatever_the_number_of_workers(folder, whole, name, workers):
    loader = {"workers": workers, "ahead": 3}
    assert Opened(folder, loader=loader, **order(name)).batches(14) == whole[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["exact", "streams"])
def test_a_run_goes_on_with_another_number_of_processes_each_time(folder, whole, name):
    """Twice in one epoch, at its end, right after a start that took nothing, five times in all."""
    last = max(n for n, batch in enumerate(whole[name]) if batch[0].epoch == 0) + 1
    at, found, made = 0, [], Opened(folder, **order(name))
    for stop, size in ((2, 1), (3, 4), (3, 2), (last, 3), (last + 1, 2), (14, 1)):
        start = Cursor() if not at else _after(whole[name][at - 1][0])
        parts = []
        for rank in range(size):
            made.share = Share(rank, size)
            parts.append(made.batches(stop - at, start))
        found += list(zip(*parts, strict=True))
        at = stop
    for (cursor, slots, ids, captions, _), parts in zip(whole[name], found, strict=True):
        assert {part[:2] for part in parts} == {(cursor, slots)}
        pairs = [pair for part in parts for pair in zip(part[2], part[3], strict=True)]
        assert sorted(pairs) == sorted(zip(ids, captions, strict=True))


def _after(cursor):
    return Cursor(cursor.phase, cursor.epoch, cursor.batch + 1)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_corrupt_picture_is_counted_and_nothing_comes_instead(tmp_path, workers):
    items = colored_items(7)
    items[3].image = items[3].image[:60]
    folder = write_set(tmp_path / "set", items)
    made = Opened(folder, loader={"workers": workers})
    found = made.batches(2)
    assert sorted(i for batch in found for i in batch[2]) == [
        item.id for item in items if item.number != 3
    ]
    assert sum(batch[1] for batch in found) == 7
    assert list(made.set.failures) == [items[3].id]
    assert made.set.failures[items[3].id].startswith("64/64x64/000000.tar: ")


def test_workers_that_nobody_asked_for(folder):
    made = Opened(folder, image_cache_bytes=0)
    assert made.set.fits
    assert worker_count(made.set) == 0
    made.set.fits = False
    assert 1 <= worker_count(made.set) <= 4
    assert worker_count(Opened(folder, loader={"workers": 3}).set) == 3


def test_blocks_are_read_at_once_where_they_can_be_kept(folder, monkeypatch):
    local = Opened(folder, **STREAMS)
    assert not joined_blocks(local.set, [4, 4])
    local.set.store.local = False
    assert joined_blocks(local.set, [4, 4])
    assert not joined_blocks(local.set, [4000, 4000000])
    exact = Opened(folder)
    exact.set.store.local = False
    assert not joined_blocks(exact.set, [4, 4])

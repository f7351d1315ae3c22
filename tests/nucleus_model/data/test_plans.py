import tracemalloc
from collections import Counter
from functools import cache
from itertools import islice

import pytest

from nucleus_data.corpus.store import Store
from nucleus_data.hashing import keyed_uint64
from nucleus_data.sets.layout import SetFolder
from nucleus_model.data.batches import Cursor, Share
from nucleus_model.data.plans import batch_size
from nucleus_model.settings.phases import Phase
from tests.support.loading import STREAMS, Opened
from tests.support.quick import quick
from tests.support.sets import ident, make_set

BUCKETS = {"64/1x1": 45, "64/4x3": 18, "64/16x9": 1}
EXACT = {}
CAPTIONED = sorted(ident(n) for n in range(64) if n % 5 != 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_set(tmp_path_factory.mktemp("plans") / "set", BUCKETS, a_tar=5).url()


@cache
def known(folder, name):
    """A set in one of the orders, for tests that change nothing of it."""
    return Opened(folder, **(STREAMS if name == "streams" else {}))


def once(batches):
    return sorted(ident for batch in batches for ident in batch)


@pytest.mark.parametrize("name", ["exact", "streams"])
def test_an_epoch_has_every_sample_once_with_one_rest_batch_a_bucket(folder, name):
    made = known(folder, name)
    first, second = made.epoch(), made.epoch(1)
    assert once(first) == once(second) == CAPTIONED
    assert first != second
    assert sum(len(batch) < 4 for batch in first) == made.plans.rests <= 3
    buckets = {i: n for n, b in enumerate(made.set.buckets) for i in _ids_of(made, b)}
    assert all(len({buckets[i] for i in batch}) == 1 for batch in first)


def _ids_of(made, bucket):
    places = [made.set.tables.places(int(tar))["id"] for tar in bucket.tars]
    return [row.tobytes().hex() for ids in places for row in ids]


def test_below_the_bound_the_order_is_that_of_a_hash_of_every_id(folder):
    found = Opened(folder, seed=7).epoch(2)
    for batch in found:
        keys = [keyed_uint64("order:2", 7, i) for i in batch]
        assert keys == sorted(keys)
    firsts = [keyed_uint64("batch:2", 7, batch[0]) for batch in found]
    assert firsts == sorted(firsts)


@pytest.mark.parametrize(("name", "order"), [("exact", EXACT), ("streams", STREAMS)])
def test_from_any_batch_it_goes_on_as_it_would_have(folder, name, order):
    whole = known(folder, name).ids(30)
    other = Opened(folder, **order)
    for done in (20, 1, 14, 13):
        assert other.ids(30 - done, _after(whole[done - 1][0])) == whole[done:]


def _after(cursor):
    return Cursor(cursor.phase, cursor.epoch, cursor.batch + 1)


@pytest.mark.parametrize("name", ["exact", "streams"])
def test_the_parts_of_all_processes_are_the_batch(folder, name):
    made = known(folder, name)
    whole = made.ids(20)
    for size in (2, 3, 4):
        each = []
        for rank in range(size):
            made.share = Share(rank, size)
            each.append(made.ids(20))
        for number, (cursor, ids) in enumerate(whole):
            assert {part[number][0] for part in each} == {cursor}
            assert sorted(i for part in each for i in part[number][1]) == sorted(ids)
            lengths = [len(part[number][1]) for part in each]
            assert max(lengths) - min(lengths) <= 1
    made.share = Share()


def test_each_process_counts_a_part_of_a_large_sets_tars(folder):
    said = []
    for rank in range(3):
        Opened(folder, Share(rank, 3), lambda t: said.append(t) or [t], **STREAMS)
    tars = [{item.partition(":")[0] for item in text.split(",")} for text in said]
    assert sum(map(len, tars)) == len(set.union(*tars)) == 14
    told = Opened(folder, Share(1, 3), lambda text: said, **STREAMS)
    assert told.plans.samples == len(CAPTIONED)


def test_held_out_samples_are_in_no_batch(folder):
    exact = Opened(folder, holdout_share=0.3, holdout_limit=5)
    streams = Opened(folder, holdout_share=0.3, holdout_limit=5, **STREAMS)
    assert once(exact.epoch()) == once(streams.epoch())
    assert len(exact.chosen.held_out) == len(streams.chosen.held_out) == 5
    held = {s.id for made in (exact, streams) for s in made.chosen.held_out}
    assert held.isdisjoint(once(exact.epoch()))


@pytest.mark.slow
@pytest.mark.parametrize("order", quick([EXACT, STREAMS], 1))
def test_a_phase_has_its_aspects_and_captions(folder, order):
    made = Opened(folder, aspects=["4x3"], **order)
    assert {batch.bucket.aspect for batch in _some(made, 9)} == {"4x3"}
    assert once(Opened(folder, captions={"short": 1}, **order).epoch()) == CAPTIONED
    assert Opened(folder, captions={"poem": 1}, **order).plans.samples == 0
    assert Opened(folder, aspects=["9x9"], **order).ids(3) == []


def _some(made, count):
    planned = made.plans.batches(Cursor(), Share())
    return [next(planned) for _ in range(count)]


@pytest.mark.parametrize("order", quick([EXACT, STREAMS], 1))
def test_a_mixture_says_how_often_an_epoch_has_a_sample(folder, order):
    # A tar's tiers are A1, A2, A3, A1, A2; its curriculum buckets B1, B2, B1, B2, B1.
    mixture = {"tier": {"A1": 2, "A2": 0.5}, "curriculum": {"B1": 1, "B2": 1}}
    made = Opened(folder, mixture=mixture, **order)
    tiers = {}
    for tar in range(len(made.set.tables.paths)):
        values = made.set.tables.columns(tar, ["tier"])["tier"].to_pylist()
        ids = made.set.tables.places(tar)["id"]
        tiers |= {row.tobytes().hex(): tier for row, tier in zip(ids, values, strict=True)}
    wanted = {i: n for i in CAPTIONED for n in [{"A1": 2}.get(tiers[i], 0)] if n}
    halves = []
    for epoch in range(3):
        found = Counter(once(made.epoch(epoch)))
        half = {i for i in found if tiers[i] == "A2"}
        halves.append(half)
        assert {i: n for i, n in found.items() if i not in half} == wanted
        assert {found[i] for i in half} == {1}
    every = [i for i in CAPTIONED if tiers[i] == "A2"]
    assert sum(map(len, halves)) == pytest.approx(1.5 * len(every), rel=0.4)
    assert len({frozenset(half) for half in halves}) > 1, "drawn anew each epoch"


def test_a_batch_by_tokens_has_as_many_samples_as_fit(folder):
    made = Opened(folder, batch_tokens=130)
    sizes = {
        b.aspect: (b.size, n) for b, n in zip(made.set.buckets, made.plans.batch_sizes, strict=True)
    }
    for (width, height), count in sizes.values():
        assert count == max(1, 130 // (width // 8 * (height // 8)))
    assert max(map(len, made.epoch())) == max(made.plans.batch_sizes)
    few = Phase(steps=1, batch_tokens=1)
    assert {batch_size(bucket, few, 8) for bucket in made.set.buckets} == {1}


@pytest.mark.slow
def test_memory_grows_with_the_tars_by_less_than_300_bytes_each(tmp_path):
    taken = []
    for tars in (500, 2500):
        made = SetFolder(Store(str(tmp_path / str(tars))))
        row = {"resolution": 64, "aspect": "1x1", "width": 64, "height": 64, "bytes": 1 << 30}
        row |= {"samples": 10_000, "sha256": "0" * 64, "index_sha256": "0" * 64}
        made.publish([{**row, "path": f"64/1x1/{n:06d}.tar"} for n in range(tars)])
        made.new_edition("e" * 16).publish({"name": "short", "without": 0})
        tracemalloc.start()
        opened = Opened(made.url(), exact_below=0)
        opened.set.tables.read_all = lambda tars: None  # there are no indexes
        ids = [plan.tars for plan in islice(opened.plans.batches(Cursor(), Share()), 3)]
        taken.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert [len(tar) for tar in ids] == [4, 4, 4]
    assert taken[1] - taken[0] < 300 * 2000

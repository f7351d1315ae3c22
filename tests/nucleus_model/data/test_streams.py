from collections import Counter

import numpy as np
import pytest

from nucleus_model.data.streams import StreamOrder, row_order


def order(counts, epoch=0, **changes):
    values = {"batch_size": 4, "streams": 8, "seed": 1, "epoch": epoch, "bucket": 0}
    return StreamOrder(np.asarray(counts), **values | changes)


def places(made, number):
    found = made.batch(number)
    return list(zip(found.tars.tolist(), found.rows.tolist(), strict=True))


@pytest.mark.parametrize("counts", [[1], [5], [64], [63, 1, 200], [0, 7, 0, 300, 1], [0]])
def test_an_epoch_has_every_sample_once_and_one_rest_batch(counts):
    made = order(counts)
    batches = [places(made, n) for n in range(len(made))]
    found = Counter(place for batch in batches for place in batch)
    wanted = {(tar, row): 1 for tar, count in enumerate(counts) for row in range(count)}
    assert found == wanted
    assert [len(batch) for batch in batches[:-1]] == [4] * (len(batches) - 1)
    assert len(batches) == -(-sum(counts) // 4)


def test_an_epoch_is_another_order_and_a_batch_needs_none_before_it():
    one, other = order([500, 700]), order([500, 700], epoch=1)
    assert places(one, 3) != places(other, 3)
    assert places(order([500, 700]), 217) == places(one, 217)


@pytest.mark.parametrize("ranks", [2, 4])
def test_a_slot_keeps_to_its_own_streams(ranks):
    # A rank's slots read other tars than another's, so a tar is opened by few.
    made = order([10] * 256, batch_size=4, streams=64)
    opened = [set() for _ in range(ranks)]
    for number in range(len(made)):
        for slot, (tar, _) in enumerate(places(made, number)):
            opened[slot % ranks].add(tar)
    assert max(map(len, opened)) < 256 / ranks * 1.6


@pytest.mark.parametrize(
    ("tars", "batch"), [(70, 32), pytest.param(600, 32, marks=pytest.mark.slow), (3, 32)]
)
def test_batches_vary_as_those_of_an_exact_shuffle(tars, batch):
    """A signal that differs by tar: the variance of batch means is within 10 % of a shuffle's."""
    generator = np.random.default_rng(0)
    signal = generator.normal(size=tars) if tars > 3 else np.array([0, 1, 5])
    made = order([96_000 // tars] * tars, batch_size=batch, streams=256)
    found = [signal[made.batch(number).tars].mean() for number in range(len(made) - 1)]
    assert np.var(found) == pytest.approx(signal.var() / batch, rel=0.1)


def test_rows_go_by_blocks_of_neighbours():
    every = np.arange(100)
    rows = row_order(every, key=7, block=10)
    assert sorted(rows.tolist()) == every.tolist()
    assert all(len({row // 10 for row in rows[n : n + 10]}) == 1 for n in range(0, 100, 10))
    assert rows.tolist() != row_order(every, key=8, block=10).tolist()
    assert sorted(rows[:10].tolist()) != rows[:10].tolist()
    twice = row_order(np.array([3, 3, 5, 40]), key=7, block=10)
    assert sorted(twice.tolist()) == [3, 3, 5, 40]

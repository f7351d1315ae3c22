from collections import Counter
from itertools import islice

import pytest

from nucleus_model.data.interleave import Interleaving


def turns(batches, first=0, epoch=0, **options):
    return list(Interleaving(batches, 3, epoch, **options).turns(first))


@pytest.mark.parametrize("batches", [[1], [7, 0, 2], [500, 3, 57], [0]])
def test_every_batch_once_each_buckets_in_order(batches):
    found = turns(batches, block=100)
    assert len(found) == sum(batches)
    assert Counter(turn.bucket for turn in found) == {b: n for b, n in enumerate(batches) if n}
    for bucket, count in enumerate(batches):
        assert [t.batch for t in found if t.bucket == bucket] == list(range(count))


def test_from_any_batch_on_it_goes_on():
    whole = turns([300, 40, 2], block=16)
    for first in (0, 1, 15, 16, 17, 200, 341, 342):
        assert turns([300, 40, 2], first, block=16) == whole[first:]
    assert turns([300, 40, 2]) == whole, "the block decides nothing"
    assert turns([300, 40, 2], epoch=1) != whole


def test_a_rare_bucket_is_spread_over_the_epoch():
    found = turns([900, 10])
    places = [place for place, turn in enumerate(found) if turn.bucket == 1]
    assert all(91 * n <= place <= 91 * (n + 1) for n, place in enumerate(places))


def test_a_far_batch_of_a_large_epoch_is_near():
    order = Interleaving([4_000_000, 2_000_000], 0, 0)
    (turn,) = islice(order.turns(5_999_999), 1)
    assert turn in (type(turn)(0, 3_999_999), type(turn)(1, 1_999_999))

"""Two sets in one order: shared pictures take the same places, and both take as many steps."""

from collections import Counter
from hashlib import blake2b

import numpy as np
import pytest

from nucleus_model.data.draws import as_bytes, as_hex
from nucleus_model.data.exact import exact_epoch
from nucleus_model.data.joint import JointOrder, joint_epoch

SQUARE, WIDE = (64, 64), (96, 48)


def pictures(numbers, bucket=SQUARE):
    return {blake2b(bytes([number]), digest_size=16).hexdigest(): bucket for number in numbers}


class Planned:
    """A set's epoch in the order of two."""

    def __init__(self, own, other, epoch=0, seed=3):
        self.own = own
        names = sorted(own)
        found = joint_epoch(
            JointOrder.of({**other, **own}),
            as_bytes(names),
            np.array([own[name] for name in names]),
            batch_size=8,
            seed=seed,
            epoch=epoch,
        )
        self.batches = []
        for number in range(len(found)):
            numbers, turns = found.batch(number)
            self.batches.append(
                [(names[n], t) for n, t in zip(numbers.tolist(), turns.tolist(), strict=True)]
            )

    @property
    def times(self):
        return Counter(name for batch in self.batches for name, _ in batch)


def test_equal_ids_have_the_plain_order():
    own = pictures(range(50)) | pictures(range(50, 70), WIDE)
    names = sorted(own)
    buckets = np.array([own[name] == WIDE for name in names], np.int64)
    plain = exact_epoch(as_bytes(names), buckets, [8, 8], seed=3, epoch=2)
    found = Planned(own, own, epoch=2)
    assert found.batches == [
        [(names[n], 0) for n in plain.batch(number).tolist()] for number in range(len(plain))
    ]


@pytest.mark.parametrize("dropped", [1, 30, 79])
def test_a_filtered_set_keeps_the_places_of_what_is_left(dropped):
    a, b = pictures(range(80)), pictures(range(dropped, 80))
    one, other = Planned(a, b), Planned(b, a)
    for batch_a, batch_b in zip(one.batches, other.batches, strict=True):
        assert len(batch_a) == len(batch_b)
        assert all(x == y for x, y in zip(batch_a, batch_b, strict=True) if x[0] in b)
        assert {name for name, _ in batch_b} <= set(b)


def test_fillers_are_taken_in_turn_and_meet_new_noise():
    a, b = pictures(range(80)), pictures(range(60, 80))
    found = Planned(b, a)
    assert set(found.times.values()) == {4}
    drawn = Counter(item for batch in found.batches for item in batch)
    assert max(drawn.values()) == 1


def test_disjoint_sets_meet_each_picture_twice():
    a, b = pictures(range(40)), pictures(range(40, 80))
    for own, other in ((a, b), (b, a)):
        assert Planned(own, other).times == dict.fromkeys(own, 2)


def test_a_bucket_of_one_set_alone_is_another_of_the_other():
    a, b = pictures(range(40)) | pictures(range(40, 60), WIDE), pictures(range(40))
    one, other = Planned(a, b), Planned(b, a)
    assert [len(batch) for batch in one.batches] == [len(batch) for batch in other.batches]
    for found in (one, other):
        for batch in found.batches:
            assert len({found.own[name] for name, _ in batch}) == 1


def test_a_lacking_bucket_is_filled_from_one_of_the_same_area():
    tall = (48, 96)
    a = pictures(range(20)) | pictures(range(20, 40), WIDE)
    b = pictures(range(20)) | pictures(range(40, 48), tall)
    for own, other in ((a, b), (b, a)):
        areas = [
            sum(np.prod(found.own[name]) for name, _ in batch)
            for found in (Planned(own, other), Planned(other, own))
            for batch in found.batches
        ]
        half = len(areas) // 2
        assert areas[:half] == areas[half:]


def test_a_picture_in_another_bucket_is_one_that_is_lacking():
    a, b = pictures(range(16)), pictures(range(15)) | pictures([15], WIDE)
    moved = next(iter(pictures([15])))
    order = JointOrder.of({**b, **a})
    assert [i.decode() for i in as_hex(order.ids)] == sorted(a)
    found = Planned(b, a)
    one = Planned(a, b)
    assert moved not in found.times or found.own[moved] == WIDE
    assert sum(one.times.values()) == sum(found.times.values()) == 16


def test_the_digest_is_of_ids_and_buckets():
    order = JointOrder.of(pictures(range(9)))
    assert order.digest() == JointOrder.of(dict(reversed(pictures(range(9)).items()))).digest()
    others = [pictures(range(8)), pictures(range(8)) | pictures([8], WIDE)]
    assert len({order.digest(), *(JointOrder.of(other).digest() for other in others)}) == 3

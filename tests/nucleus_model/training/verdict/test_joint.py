"""Two arms in one order: shared pictures take the same places, and both take as many steps."""

from collections import Counter

import pytest

from nucleus_model.data.feed import plan_epoch
from nucleus_model.training.verdict.joint import Slot, joint_order, shared


def slots(numbers, bucket=(64, 64)):
    return [Slot(f"{number:04}", bucket) for number in numbers]


def planned(order, own, **changes):
    return order.epoch(own, **({"seed": 3, "epoch": 0, "batch_size": 8} | changes))


def ids(batches):
    return [[placed.sample.id for placed in batch] for batch in batches]


def test_equal_ids_have_the_plain_order():
    own = slots(range(50)) + slots(range(50, 70), (96, 48))
    plain = plan_epoch(own, seed=3, epoch=2, batch_size=8)
    found = planned(joint_order(own, own[::-1]), own, epoch=2)
    assert ids(found) == [[slot.id for slot in batch] for batch in plain]
    assert {placed.draw for batch in found for placed in batch} == {"2"}


@pytest.mark.parametrize("dropped", [1, 30, 79])
def test_a_filtered_arm_keeps_the_places_of_what_is_left(dropped):
    a, b = slots(range(80)), slots(range(dropped, 80))
    order = joint_order(a, b)
    one, other = planned(order, a), planned(order, b)
    left = {slot.id for slot in b}
    for places_a, places_b in zip(ids(one), ids(other), strict=True):
        assert len(places_a) == len(places_b)
        assert all(x == y for x, y in zip(places_a, places_b, strict=True) if x in left)
        assert set(places_b) <= left


def test_fillers_are_taken_in_turn_and_meet_new_noise():
    a, b = slots(range(80)), slots(range(60, 80))
    found = [placed for batch in planned(joint_order(a, b), b) for placed in batch]
    times = Counter(placed.sample.id for placed in found)
    assert set(times.values()) == {4}
    assert max(Counter((placed.sample.id, placed.draw) for placed in found).values()) == 1


def test_disjoint_arms_meet_each_picture_twice():
    a, b = slots(range(40)), slots(range(40, 80))
    order = joint_order(a, b)
    for own in (a, b):
        times = Counter(placed.sample.id for batch in planned(order, own) for placed in batch)
        assert times == dict.fromkeys((slot.id for slot in own), 2)


def test_a_bucket_of_one_arm_alone_is_another_bucket_of_the_other():
    a, b = slots(range(40)) + slots(range(40, 60), (96, 48)), slots(range(40))
    order = joint_order(a, b)
    one, other = planned(order, a), planned(order, b)
    assert [len(batch) for batch in one] == [len(batch) for batch in other]
    assert {placed.sample.bucket for batch in other for placed in batch} == {(64, 64)}
    assert len({placed.sample.bucket for batch in one for placed in batch}) == 2
    for batch in (*one, *other):
        assert len({placed.sample.bucket for placed in batch}) == 1


def test_the_order_of_what_is_given_does_not_matter():
    a, b = slots(range(60)), slots(range(20, 90))
    assert joint_order(a, b) == joint_order(a[::-1], b[::-1])
    assert joint_order(a, b).digest() != joint_order(a, b[1:] + slots([95])).digest()
    assert ids(planned(joint_order(a, b), a)) == ids(planned(joint_order(b, a), a[::-1]))


def test_an_arm_without_any_picture_is_told():
    with pytest.raises(ValueError, match="no picture"):
        planned(joint_order(slots([1]), slots([2])), slots([3]))


def test_shared_counts():
    found = shared(["a", "b", "c"], ["c", "d"])
    assert (found.both, found.a_only, found.b_only, found.equal) == (1, 2, 1, False)
    assert shared(["a"], ["a"]).equal

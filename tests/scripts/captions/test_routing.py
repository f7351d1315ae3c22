import numpy as np

from nucleus_data.world.scenes import scene
from scripts.captions.routing import HALF, KINDS, Judged, by_kind, captioned, routed


def test_captions_are_as_right_as_their_kind_says():
    made = [captioned(scene(5, index, "core")) for index in range(80)]
    assert {one.kind for one in made} == set(KINDS)
    for one in made:
        if one.kind == "right":
            assert one.share == 1
        if one.kind == "one mistake":
            assert HALF < one.share < 1
        if one.kind == "mostly wrong":
            assert one.share < HALF
    assert by_kind(made, [one.share for one in made]).count("\n") == 1 + len(KINDS)


def test_routes_are_counted_on_either_side():
    judged = Judged(np.array([0.1, 0.2, 0.6, 0.9]), np.array([0.0, 0.5, 0.4, 1.0]))
    assert judged.taken("preserve", 0.65) == (1, 1, 2)
    assert judged.taken("preserve", 0.15) == (3, 2, 2)
    assert judged.taken("synthesize", 0.3) == (2, 1, 2)


def test_a_threshold_is_chosen_where_precision_and_recall_are_both_high():
    rng = np.random.default_rng(0)
    share = rng.random(400)
    judged = Judged(share + 0.02 * rng.standard_normal(400), share)
    for route in ("preserve", "synthesize"):
        assert abs(judged.best(route) - HALF) < 0.05
    table = routed(judged, judged).splitlines()
    assert [line.count("|") for line in table] == [8] * 10

from dataclasses import replace

from nucleus_data.world.caption_matching import match_objects
from nucleus_data.world.reading import ReadObject
from tests.support.scenes import first_scene


def test_matching_finds_the_best_assignment_and_keeps_to_the_order():
    two = first_scene(lambda s: len(s.shapes) == 2)
    shapes = (
        replace(two.shapes[0], kind="ring", color="red", size="small", texture="plain"),
        replace(two.shapes[1], kind="ring", color="blue", size="small", texture="plain"),
    )
    # Two equal attributes either way: with a pair more, nothing is invented.
    told = (ReadObject("circle", "red"), ReadObject("ring", "red"))
    assert match_objects(told, shapes) == {0: 0, 1: 1}
    assert match_objects((ReadObject("ring", None),) * 9, shapes) == {0: 0, 1: 1}
    assert match_objects((ReadObject("star", "green"),), shapes) == {}

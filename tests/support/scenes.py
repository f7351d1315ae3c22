"""Scenes of both levels of the world, made once."""

from nucleus_data.world.scenes import LEVELS, scene

SCENES = {level: [scene(11, i, level) for i in range(300)] for level in LEVELS}
ALL = [facts for level in LEVELS for facts in SCENES[level]]


def first_scene(condition, level="core"):
    """The first of them that something is true of."""
    return next(facts for facts in SCENES[level] if condition(facts))

"""The facts of a scene that a caption of some length has to tell.

A *fact* is one attribute of one thing: an object's kind, colour, size, texture or place, how two
objects lie to each other, the number of shapes, the background, its ground and light, the style,
the word and where it is.

Silence is right where the grammar is silent: plain shapes and grounds, no word, and in `medium` a
flat style are not asked for. Telling otherwise of them is a wrong fact.
"""

from typing import NamedTuple

from nucleus_data.world.scenes import Scene
from nucleus_data.world.words import LEFT_OF, LENGTHS, relations


class Fact(NamedTuple):
    """What a fact is about: nothing (the scene), one true object, or two; and the attribute.

    Objects are numbers into `Scene.shapes`. The attributes of a pair are `across` (the first is
    to the `left` or `right` of the second) and `down` (`above` or `below`).
    """

    about: tuple[int, ...]
    attribute: str


def asked_facts(scene: Scene, length: str) -> dict[Fact, str]:
    """The facts that a caption of some length has to tell.

    Args:
        scene: The truth.
        length: One of `words.LENGTHS`.

    Returns:
        Each fact with its true value.

    Raises:
        ValueError: There is no such length.
    """
    if length not in LENGTHS:
        raise ValueError(f"length must be one of {', '.join(LENGTHS)}, got {length!r}")
    objects = ["kind", "color"]
    if length != "very_short":
        objects += ["size", "texture"]
    if length in ("medium", "long"):
        objects.append("place")
    asked = [Fact((i,), name) for i in range(len(scene.shapes)) for name in objects]
    if length != "very_short":
        asked.append(Fact((), "background"))
    if length in ("tags", "medium", "long"):
        asked += [Fact((), name) for name in ("ground", "light", "style", "word")]
    if length in ("medium", "long"):
        asked.append(Fact((), "word_place"))
    if length in ("tags", "long"):
        asked.append(Fact((), "count"))
    if length == "long":
        for i, (_, relation, _) in enumerate(relations(scene)):
            asked.append(Fact((i, i + 1), "across" if relation == LEFT_OF else "down"))
    truth = {fact: true_value(scene, fact) for fact in asked}
    silent = {"texture": "plain", "ground": "plain", "light": "none", "word": "", "word_place": ""}
    if length == "medium":
        silent["style"] = "flat"
    return {fact: value for fact, value in truth.items() if silent.get(fact.attribute) != value}


def true_value(scene: Scene, fact: Fact) -> str:
    """What a fact is in a scene; empty for objects in one row or column, and where no word is."""
    shapes = [scene.shapes[i] for i in fact.about]
    match fact.attribute:
        case "across":
            return _sign(shapes[1].column - shapes[0].column, "left", "right")
        case "down":
            return _sign(shapes[1].row - shapes[0].row, "above", "below")
        case "count":
            return str(len(scene.shapes))
        case "word_place":
            return scene.word_place if scene.word else ""
        case name:
            return str(getattr(shapes[0] if shapes else scene, name))


def _sign(difference: int, positive: str, negative: str) -> str:
    return positive if difference > 0 else negative if difference < 0 else ""

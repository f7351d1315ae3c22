"""Scenes of the world in other languages, for a captioner that answers in the wrong one."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from nucleus_data.world.scenes import Scene, Shape


@cache
def words() -> dict[str, dict[str, Any]]:
    """The words of each language, from `foreign.yaml`."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(
        Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")
    )
    return found


def foreign(scene: Scene, language: str) -> str:
    """A short caption of a scene in a language; its grammar is simple, its words are right."""
    known = words()[language]

    def color(name: str) -> str:
        return str(known["colors"].split()[words()["english"]["colors"].split().index(name)])

    def told(shape: Shape) -> str:
        noun = known["nouns"].split()[words()["english"]["nouns"].split().index(shape.kind)]
        size = known["sizes"][shape.size == "large"]
        return str(known["one"]).format(size=size, noun=noun, color=color(shape.color))

    shapes = known["and"].join(told(shape) for shape in scene.shapes)
    said = [
        known["whole"].format(all=shapes),
        known["ground"].format(color=color(scene.background)),
    ]
    return ("" if language in ("zh", "ja") else " ").join(said)

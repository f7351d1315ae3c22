"""Answers that need no model: phrases in front of true captions of the world, or behind them."""

from collections.abc import Iterator

import numpy as np
import yaml

from nucleus_data.stages.caption.checks import Said
from nucleus_data.stages.caption.settings import Variant
from nucleus_data.world.scenes import scene
from nucleus_data.world.words import captions
from scripts.checks.planted import CLASSES, SETS, Bench, Planted

KINDS = {"refusal": "refusals", "chatter": "chatter", "boilerplate": "boilerplate"}


def phrased(count: int, name: str, seed: int = 0) -> Iterator[Planted]:
    """True captions, `count`, and as many with each kind of phrase; a refusal may stand alone.

    Args:
        count: Of a kind.
        name: Of a file in `sets/phrases`.
        seed: Of what is drawn.
    """
    phrases = yaml.safe_load((SETS / "phrases" / f"{name}.yaml").read_text(encoding="utf-8"))
    bench = Bench(None, [], phrases, np.random.default_rng(seed))  # type: ignore[arg-type]
    for number in range(count):
        true = captions(scene(phrases["world"], number, "full"))["short"]
        yield Planted("", _said(true))
        for kind, key in KINDS.items():
            if kind == "refusal":
                text = bench.draw(key) + f" {true}" * (number % 3 == 0)
            elif number % 3 == 2:
                text = true + bench.draw(f"{key}_ends")
            else:
                text = bench.draw(key) + true
            yield Planted(kind, _said(text), frozenset([kind]))


def _said(text: str) -> Said:
    template = Variant(prompt="short").template
    return Said(text, template=template, words=CLASSES["short"], language="en")

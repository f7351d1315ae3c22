"""Answers of a captioner with known faults, and without, as the checks see them."""

import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from nucleus_data.stages.caption.checks import Said
from nucleus_data.stages.caption.settings import Variant
from nucleus_data.world.scenes import Scene
from scripts.checks.misbehaving import Captioner, Script, Spoken
from scripts.nano.measuring import HeldOut, held_out

SETS = Path(__file__).parent / "sets"
# Words that each variant may have.
CLASSES = {
    "tags": (4, 60),
    "very_short": (2, 30),
    "short": (8, 60),
    "medium": (12, 110),
    "long": (20, 200),
}
SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {
            "count": {"type": "integer"},
            "background": {"type": "string"},
            "shapes": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["count", "background", "shapes"],
        "additionalProperties": False,
    }
)
LIMIT = 160  # tokens
_DRAWN = re.compile(r"\{([^{}]*\|[^{}]*)\}")


@dataclass(frozen=True)
class Planted:
    """An answer, and which checks ought to find it.

    Attributes:
        kind: What was planted; empty for nothing.
        said: What the checks see.
        right: Names of checks that are right about it.
    """

    kind: str
    said: Said
    right: frozenset[str] = frozenset()


@dataclass
class Bench:
    """What all kinds of planted answers are made with.

    Attributes:
        captioner: The packaged captioner.
        pictures: Of the set's world.
        phrases: The set's phrases, of `sets/NAME.yaml`.
        rng: Draws them.
        clean: What the captioner says by itself, by variant.
    """

    captioner: Captioner
    pictures: Sequence[HeldOut]
    phrases: dict[str, Any]
    rng: np.random.Generator
    clean: dict[str, list[Spoken]] = field(default_factory=dict)

    def say(
        self, variant: str, scripts: Sequence[Script | None], limit: int = LIMIT, first: int = 0
    ) -> list[Spoken]:
        """What the captioner says of pictures from `first` on, a script each."""
        images = [picture.image for picture in self.pictures[first : first + len(scripts)]]
        return self.captioner.say(images, Variant(prompt=variant).template, scripts, limit)

    def draw(self, name: str) -> str:
        """One of the set's phrases, with one of each of its `{a|b}`."""
        phrases = self.phrases[name]
        phrase = phrases[int(self.rng.integers(len(phrases)))] or ""
        return _DRAWN.sub(lambda found: str(self.rng.choice(found[1].split("|"))), phrase)

    def asked(self, variant: str) -> str:
        """The question that the checks are told of: the set's own, or the package's."""
        return str(self.phrases["questions"].get(variant) or Variant(prompt=variant).template)

    def said(self, spoken: Spoken, variant: str, scene: Scene | None = None, **other: Any) -> Said:
        """An answer as the checks see it; what is true of a scene stands in upstream columns."""
        given: dict[str, Any] = {
            "text": spoken.text,
            "finish_reason": spoken.finish_reason,
            "tokens": spoken.tokens,
            "max_tokens": LIMIT,
            "template": self.asked(variant),
            "facts": {"shapes": len(scene.shapes), "year": 1923} if scene else {},
            "words": CLASSES[variant],
            "language": "en",
            "system": self.phrases["system"],
        }
        return Said(**given | other)


def planted(count: int, name: str, seed: int = 0) -> Iterator[Planted]:
    """Answers without a fault, six times `count`, and `count` with each kind of fault.

    Args:
        count: Of a kind.
        name: Of a set of phrases, which also says the world.
        seed: Of what is drawn.
    """
    from scripts.checks.faults import KINDS

    phrases = yaml.safe_load((SETS / f"{name}.yaml").read_text(encoding="utf-8"))
    pictures = held_out(count, "full", phrases["world"])
    bench = Bench(Captioner(), pictures, phrases, np.random.default_rng(seed))
    for variant in CLASSES:
        bench.clean[variant] = bench.say(variant, [None] * count)
        opens = frozenset(["boilerplate"]) if variant == "long" else frozenset[str]()
        for spoken, picture in zip(bench.clean[variant], pictures, strict=True):
            yield Planted("", bench.said(spoken, variant, picture.facts), opens)
    for make in KINDS:
        yield from make(bench)


def written(one: Planted) -> str:
    """An answer as a line of JSON."""
    return json.dumps([one.kind, dataclasses.asdict(one.said), sorted(one.right)])


def read_planted(line: str) -> Planted:
    """What `written` wrote."""
    kind, seen, right = json.loads(line)
    seen["words"] = tuple(seen["words"]) if seen["words"] else None
    return Planted(kind, Said(**seen), frozenset(right))

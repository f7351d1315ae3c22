"""Answers of a captioner with known faults, and without, as the checks see them."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nucleus_data.stages.caption.checks import Said
from nucleus_data.stages.caption.settings import Variant
from nucleus_data.world.scenes import Scene
from scripts.checks.foreign import LANGUAGES, foreign
from scripts.checks.misbehaving import (
    Captioner,
    Script,
    Spoken,
    endless,
    forced,
    looping,
    not_a_number,
)
from scripts.nano.measuring import HeldOut, held_out

# Words that each variant may have.
CLASSES = {
    "tags": (4, 60),
    "very_short": (2, 30),
    "short": (8, 60),
    "medium": (12, 110),
    "long": (20, 200),
}
SYSTEM = "You describe pictures for the training of a model. Say what you see and nothing else."
CHATTER = (
    "Sure! Here is a caption for the image: ",
    "Certainly! Here's a short description: ",
    "Here is the description you asked for: ",
    "Caption: ",
    "Of course. This is a picture with ",
)
BOILERPLATE = (
    "The image shows ",
    "This image depicts ",
    "In this picture, there is ",
    "The photo captures ",
    "An image of ",
)
SPELLED = ("<|im_end|>", "<|im_start|>assistant", "<image>", "</s>", "[INST]")
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
    right: frozenset[str]


def planted(count: int, seed: int = 0) -> Iterator[Planted]:
    """Answers without a fault and with each kind of fault; `count` of a kind, as many clean."""
    captioner, rng = Captioner(), np.random.default_rng(seed)
    pictures = held_out(count, "full")
    images = [picture.image for picture in pictures]
    clean: dict[str, list[Spoken]] = {}
    for variant in CLASSES:
        clean[variant] = captioner.say(images, template(variant), [None] * count, LIMIT)
        opens = frozenset(["boilerplate"]) if variant == "long" else frozenset[str]()
        for spoken, picture in zip(clean[variant], pictures, strict=True):
            yield Planted("", said(spoken, variant, picture.facts), opens)
    for spoken, picture in zip(clean["medium"], pictures, strict=True):
        text = _json(picture.facts)
        yield Planted("", said(spoken, "medium", text=text, schema=SCHEMA, words=None), frozenset())
    makers = (_forced, _loops, _broken, _cut, _empty, _length, _contradicted)
    for make in makers:
        yield from make(captioner, pictures, clean, rng)


def written(one: Planted) -> str:
    """An answer as a line of JSON."""
    return json.dumps([one.kind, dataclasses.asdict(one.said), sorted(one.right)])


def read_planted(line: str) -> Planted:
    """What `written` wrote."""
    kind, seen, right = json.loads(line)
    seen["words"] = tuple(seen["words"]) if seen["words"] else None
    return Planted(kind, Said(**seen), frozenset(right))


def template(variant: str) -> str:
    """What a variant asks."""
    return Variant(prompt=variant).template


def said(spoken: Spoken, variant: str, scene: Scene | None = None, **other: object) -> Said:
    """An answer as the checks see it; what is true of a scene stands in upstream columns."""
    told = {"shapes": len(scene.shapes), "year": 1923} if scene else {}
    given = {
        "text": spoken.text,
        "finish_reason": spoken.finish_reason,
        "tokens": spoken.tokens,
        "max_tokens": LIMIT,
        "template": template(variant),
        "facts": told,
        "words": CLASSES[variant],
        "language": "en",
        "system": SYSTEM,
        **other,
    }
    return Said(**given)  # type: ignore[arg-type]


def _json(scene: Scene) -> str:
    shapes = [f"{shape.color} {shape.kind}" for shape in scene.shapes]
    return json.dumps({"count": len(shapes), "background": scene.background, "shapes": shapes})


def _forced(
    captioner: Captioner,
    pictures: Sequence[HeldOut],
    clean: dict[str, list[Spoken]],
    rng: np.random.Generator,
) -> Iterator[Planted]:
    """Refusals, talk, leaks, other languages, broken JSON: the model is made to say the tokens."""
    lines = (Path(__file__).parent / "refusals.txt").read_text(encoding="utf-8").splitlines()
    plans: dict[str, list[tuple[str, bool]]] = {}
    for number, picture in enumerate(pictures):
        question = template("short")
        broken = _broken_json(_json(picture.facts), number)
        told = [question, f"{question.split(':')[0]}.", SYSTEM, f"{SYSTEM.split('.')[0]}."]
        for kind, text, ends in (
            ("refusal", lines[number % len(lines)], bool(number % 3)),
            ("chatter", CHATTER[number % len(CHATTER)], False),
            ("boilerplate", BOILERPLATE[number % len(BOILERPLATE)], False),
            ("leak", told[number % len(told)] + " ", bool(number % 2)),
            ("language", foreign(picture.facts, LANGUAGES[number % len(LANGUAGES)]), True),
            ("invalid_json", broken, True),
        ):
            plans.setdefault(kind, []).append((text, ends))
    images = [picture.image for picture in pictures]
    for kind, each in plans.items():
        scripts: list[Script | None] = [
            forced(captioner.encode(text), captioner.end if ends else None) for text, ends in each
        ]
        if kind == "leak":  # a third spell a special token somewhere in the answer
            for number in range(0, len(scripts), 3):
                at = int(rng.integers(1, len(clean["short"][number].ids)))
                tokens = captioner.encode(SPELLED[number % len(SPELLED)])
                scripts[number] = forced(tokens, at=at)
        schema = SCHEMA if kind == "invalid_json" else None
        # A language that its tokenizer has only as bytes needs many tokens.
        limit = 6 * LIMIT if kind == "language" else LIMIT
        words = None if schema else CLASSES["short"]
        for spoken in captioner.say(images, template("short"), scripts, limit):
            seen = said(spoken, "short", schema=schema, words=words, max_tokens=limit)
            yield Planted(kind, seen, frozenset([kind]))


def _broken_json(text: str, number: int) -> str:
    """JSON that does not follow the schema, in one of six ways."""
    return (
        text[: len(text) // 2],
        text.replace('"count"', '"number"'),
        f"```json\n{text}\n```",
        text.replace("{", '{"more": true, ', 1),
        text.replace(text[text.index(":") + 2], '"many"', 1),
        f"Here you are: {text}",
    )[number % 6]


def _loops(
    captioner: Captioner,
    pictures: Sequence[HeldOut],
    clean: dict[str, list[Spoken]],
    rng: np.random.Generator,
) -> Iterator[Planted]:
    """Loops of 1 to 30 tokens, cut by the limit or ended after a few rounds."""
    scripts: list[Script | None] = []
    for number, spoken in enumerate(clean["medium"]):
        length = int(rng.integers(1, 31))
        at = int(rng.integers(length, max(length + 1, len(spoken.ids))))
        rounds = None if number % 2 else max(4 * length, 24)
        scripts.append(looping(at, length, rounds, captioner.end))
    images = [picture.image for picture in pictures]
    for spoken in captioner.say(images, template("medium"), scripts, 256):
        right = frozenset(["repetition", "degenerate"])
        yield Planted("repetition", said(spoken, "medium", words=None, max_tokens=256), right)


def _broken(
    captioner: Captioner,
    pictures: Sequence[HeldOut],
    clean: dict[str, list[Spoken]],
    rng: np.random.Generator,
) -> Iterator[Planted]:
    """Logits that are not finite, from some token on."""
    starts = [int(rng.integers(0, len(spoken.ids))) for spoken in clean["short"]]
    images = [picture.image for picture in pictures]
    scripts = [not_a_number(at) for at in starts]
    for spoken in captioner.say(images, template("short"), scripts, 96):
        yield Planted("degenerate", said(spoken, "short"), frozenset(["degenerate"]))


def _cut(
    captioner: Captioner,
    pictures: Sequence[HeldOut],
    clean: dict[str, list[Spoken]],
    rng: np.random.Generator,
) -> Iterator[Planted]:
    """Half met a limit of tokens, half ended by themselves in the middle of a sentence."""
    images = [picture.image for picture in pictures]
    scripts: list[Script | None] = []
    for variant in ("short", "long"):
        scripts = []
        for spoken in clean[variant]:
            at = int(rng.integers(3, len(spoken.ids)))
            while captioner.tokenizer.decode(spoken.ids[:at]).strip()[-1:] in (".", ""):
                at = int(rng.integers(3, len(spoken.ids)))
            scripts.append(forced([], captioner.end, at))
        early = captioner.say(images, template(variant), scripts, LIMIT)
        for number, spoken in enumerate(early):
            if number % 2 == (variant == "long"):
                if number % 4 < 2:
                    whole = clean[variant][number]
                    spoken = captioner.shortened(whole, max(3, len(whole.ids) * 2 // 3))
                said_ = said(spoken, variant, words=None)
                yield Planted("cut", said_, frozenset(["cut"]))


def _empty(
    captioner: Captioner,
    pictures: Sequence[HeldOut],
    clean: dict[str, list[Spoken]],
    rng: np.random.Generator,
) -> Iterator[Planted]:
    """The end at once, or after what can't be seen."""
    nothing = ("", "\n", "   ", ".", "N/A", "None")
    scripts: list[Script | None] = [
        forced(captioner.encode(nothing[number % len(nothing)]), captioner.end)
        for number in range(len(pictures))
    ]
    images = [picture.image for picture in pictures]
    for spoken in captioner.say(images, template("short"), scripts, 8):
        yield Planted("empty", said(spoken, "short"), frozenset(["empty"]))


def _length(
    captioner: Captioner,
    pictures: Sequence[HeldOut],
    clean: dict[str, list[Spoken]],
    rng: np.random.Generator,
) -> Iterator[Planted]:
    """Ends after the first sentence of many, or goes on after it should end."""
    images = [picture.image for picture in pictures]
    half = len(images) // 2
    scripts: list[Script | None] = []
    for spoken in clean["long"][:half]:
        texts = [captioner.tokenizer.decode(spoken.ids[:at]) for at in range(len(spoken.ids))]
        first = next(at for at, text in enumerate(texts) if text.endswith("."))
        scripts.append(forced([], captioner.end, first))
    for spoken in captioner.say(images[:half], template("long"), scripts, LIMIT):
        yield Planted("words", said(spoken, "long"), frozenset(["words", "boilerplate"]))
    scripts = [endless(int(rng.integers(80, 120)), captioner.end) for _ in images[half:]]
    for spoken in captioner.say(images[half:], template("very_short"), scripts, LIMIT):
        # What a model says that may not end is also a loop, or cut, as often as not.
        right = frozenset(["words", "repetition", "degenerate", "cut"])
        yield Planted("words", said(spoken, "very_short"), right)


def _contradicted(
    captioner: Captioner,
    pictures: Sequence[HeldOut],
    clean: dict[str, list[Spoken]],
    rng: np.random.Generator,
) -> Iterator[Planted]:
    """Columns that say otherwise than the answer: how many, which year, who, where."""
    images = [picture.image for picture in pictures]
    ends = (
        " It is a picture of 1925.",
        " It was painted by Claude Monet.",
        " It was seen in Germany.",
        " It was photographed in March 1931.",
    )
    facts = {"year": 1923, "artist": "Edgar Degas", "country": "France"}
    scripts: list[Script | None] = []
    for number, spoken in enumerate(clean["long"]):
        tokens = captioner.encode(ends[number % len(ends)])
        scripts.append(forced(tokens, captioner.end, len(spoken.ids)))
    told = captioner.say(images, template("long"), scripts, 256)
    for number, (spoken, picture) in enumerate(zip(told, pictures, strict=True)):
        given: dict[str, object] = dict(facts)
        if number % 5 == 4:
            spoken = clean["long"][number]
            given = {"count_of_shapes": len(picture.facts.shapes) + 1}
        seen = said(spoken, "long", facts=given, max_tokens=256)
        yield Planted("contradiction", seen, frozenset(["contradiction"]))

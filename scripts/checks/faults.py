"""Each kind of planted fault: a function that yields as many answers as the bench has pictures.

Where all tokens are forced up to the end, the answer is known without the model: its tokens are
written, and read back (`whole`); everything else the captioner says.
"""

import json
from collections.abc import Iterator
from typing import Any

from nucleus_data.world.scenes import Scene
from scripts.checks.foreign import foreign
from scripts.checks.misbehaving import (
    Script,
    endless,
    forced,
    looping,
    noise,
    not_a_number,
    of_one_token,
)
from scripts.checks.planted import SCHEMA, Bench, Planted

LOOP_LIMIT = 256


def true_json(bench: Bench) -> Iterator[Planted]:
    """No fault: JSON as the schema has it."""
    for picture in bench.pictures:
        spoken = bench.captioner.whole(_json(picture.facts))
        yield Planted("", bench.said(spoken, "medium", schema=SCHEMA, words=None))


def agreements(bench: Bench) -> Iterator[Planted]:
    """No fault: endings that say what the columns say. A set may have none."""
    if bench.phrases["agreements"]:
        for seen in _ended(bench, "agreements"):
            yield Planted("", seen, frozenset(["boilerplate"]))


def refusals(bench: Bench) -> Iterator[Planted]:
    """A third goes on as the model likes; a fifth is in another language, if the set has such."""
    scripts: list[Script | None] = []
    abroad = []
    for number in range(len(bench.pictures)):
        abroad.append(bool(bench.phrases["foreign_refusals"]) and number % 5 == 4)
        text = bench.draw("foreign_refusals" if abroad[-1] else "refusals")
        scripts.append(
            forced(bench.captioner.encode(text), bench.captioner.end if number % 3 else None)
        )
    for spoken, strange in zip(bench.say("short", scripts), abroad, strict=True):
        right = frozenset(["refusal", "language"] if strange else ["refusal"])
        yield Planted("refusal", bench.said(spoken, "short"), right)


def chatter(bench: Bench) -> Iterator[Planted]:
    """Before the caption, or behind it if the set has such."""
    yield from _around(bench, "chatter")


def boilerplate(bench: Bench) -> Iterator[Planted]:
    """Before the caption, or behind it if the set has such."""
    yield from _around(bench, "boilerplate")


def leaks(bench: Bench) -> Iterator[Planted]:
    """The question or the system prompt at the beginning; a third spell a special token."""
    scripts: list[Script | None] = []
    question, system = bench.asked("short"), bench.phrases["system"]
    told = [question, f"{question.split(':')[0]}.", system, f"{system.split('.')[0]}."]
    for number in range(len(bench.pictures)):
        if number % 3 == 0:
            at = int(bench.rng.integers(1, len(bench.clean["short"][number].ids)))
            tokens = bench.captioner.encode(bench.draw("spelled"))
            scripts.append(forced(tokens, at=at))
        else:
            tokens = bench.captioner.encode(told[number % len(told)] + " ")
            scripts.append(forced(tokens, bench.captioner.end if number % 2 else None))
    for spoken in bench.say("short", scripts):
        yield Planted("leak", bench.said(spoken, "short"), frozenset(["leak"]))


def languages(bench: Bench) -> Iterator[Planted]:
    """What is there, in another language."""
    names = bench.phrases["languages"]
    for number, picture in enumerate(bench.pictures):
        spoken = bench.captioner.whole(foreign(picture.facts, names[number % len(names)]))
        yield Planted("language", bench.said(spoken, "short"), frozenset(["language"]))


def broken_json(bench: Bench) -> Iterator[Planted]:
    """JSON that does not follow the schema, in one of six ways."""
    for number, picture in enumerate(bench.pictures):
        text = _json(picture.facts)
        broken = (
            text[: len(text) // 2],
            text.replace('"count"', '"number"'),
            f"```json\n{text}\n```",
            text.replace("{", '{"more": true, ', 1),
            text.replace(text[text.index(":") + 2], '"many"', 1),
            f"Here you are: {text}",
        )[number % 6]
        seen = bench.said(bench.captioner.whole(broken), "short", schema=SCHEMA, words=None)
        yield Planted("invalid_json", seen, frozenset(["invalid_json"]))


def loops(bench: Bench) -> Iterator[Planted]:
    """Loops of 1 to 30 tokens, cut by the limit or ended after a few rounds."""
    scripts: list[Script | None] = []
    for number, spoken in enumerate(bench.clean["medium"]):
        length = int(bench.rng.integers(1, 31))
        at = int(bench.rng.integers(length, max(length + 1, len(spoken.ids))))
        tokens = None if number % 2 else max(4 * length, 24)
        scripts.append(looping(at, length, tokens, bench.captioner.end))
    for spoken in bench.say("medium", scripts, LOOP_LIMIT):
        seen = bench.said(spoken, "medium", words=None, max_tokens=LOOP_LIMIT)
        yield Planted("repetition", seen, frozenset(["repetition", "degenerate"]))


def broken_logits(bench: Bench) -> Iterator[Planted]:
    """From some token on: logits that are not finite, noise in place of them, one token for ever.

    The set `seen` has the first alone.
    """
    scripts: list[Script | None] = []
    kinds = bench.phrases["broken_logits"]
    for number, spoken in enumerate(bench.clean["short"]):
        at = int(bench.rng.integers(0, len(spoken.ids)))
        token = int(bench.rng.integers(8, 100))
        scripts.append(
            (not_a_number(at), noise(at, number), of_one_token(at, token))[number % kinds]
        )
    for spoken in bench.say("short", scripts, 96):
        right = ["degenerate", "repetition"] if kinds > 1 else ["degenerate"]
        yield Planted("degenerate", bench.said(spoken, "short"), frozenset(right))


def cuts(bench: Bench) -> Iterator[Planted]:
    """Half met a limit of tokens, half ended by themselves in the middle of a sentence."""
    for variant in ("short", "long"):
        scripts: list[Script | None] = []
        for spoken in bench.clean[variant]:
            at = int(bench.rng.integers(3, len(spoken.ids)))
            while bench.captioner.read(spoken.ids[:at])[-1:] in (".", ""):
                at = int(bench.rng.integers(3, len(spoken.ids)))
            scripts.append(forced([], bench.captioner.end, at))
        for number, spoken in enumerate(bench.say(variant, scripts)):
            if number % 2 == (variant == "long"):
                if number % 4 < 2:
                    whole = bench.clean[variant][number]
                    spoken = bench.captioner.shortened(whole, max(3, len(whole.ids) * 2 // 3))
                yield Planted("cut", bench.said(spoken, variant, words=None), frozenset(["cut"]))


def nothing(bench: Bench) -> Iterator[Planted]:
    """The end at once, or after what can't be seen or stands for nothing."""
    for _ in bench.pictures:
        spoken = bench.captioner.whole(bench.draw("nothing"))
        yield Planted("empty", bench.said(spoken, "short"), frozenset(["empty"]))


def lengths(bench: Bench) -> Iterator[Planted]:
    """Ends after the first sentence of many, or goes on after it should end."""
    half = len(bench.pictures) // 2
    scripts: list[Script | None] = []
    for spoken in bench.clean["long"][:half]:
        texts = (bench.captioner.read(spoken.ids[:at]) for at in range(len(spoken.ids)))
        first = next(at for at, text in enumerate(texts) if text.endswith("."))
        scripts.append(forced([], bench.captioner.end, first))
    for spoken in bench.say("long", scripts):
        right = frozenset(["words", "boilerplate"])
        yield Planted("words", bench.said(spoken, "long"), right)
    scripts = [
        endless(int(bench.rng.integers(80, 120)), bench.captioner.end)
        for _ in bench.pictures[half:]
    ]
    for spoken in bench.say("very_short", scripts, first=half):
        # What a model says that may not end is also a loop, or cut, as often as not.
        right = frozenset(["words", "repetition", "degenerate", "cut"])
        yield Planted("words", bench.said(spoken, "very_short"), right)


def contradictions(bench: Bench) -> Iterator[Planted]:
    """Endings that say otherwise than columns; of every fifth the column has another count."""
    for number, seen in enumerate(_ended(bench, "contradictions")):
        if number % 5 == 4:
            shapes = len(bench.pictures[number].facts.shapes)
            seen = bench.said(
                bench.clean["long"][number], "long", facts={"count_of_shapes": shapes + 1}
            )
        yield Planted("contradiction", seen, frozenset(["contradiction"]))


KINDS = (
    true_json,
    agreements,
    refusals,
    chatter,
    boilerplate,
    leaks,
    languages,
    broken_json,
    loops,
    broken_logits,
    cuts,
    nothing,
    lengths,
    contradictions,
)


def _around(bench: Bench, name: str) -> Iterator[Planted]:
    """What should not be said, in front of a short caption; a third behind it, if there is such.

    Behind an opening that it never learned, the captioner often omits what should follow ("We see .
    The background is gray."): such an answer is also `empty`.
    """
    scripts: list[Script | None] = []
    openings: list[str] = []
    for number, spoken in enumerate(bench.clean["short"]):
        if bench.phrases[f"{name}_ends"] and number % 3 == 2:
            tokens = bench.captioner.encode(bench.draw(f"{name}_ends"))
            scripts.append(forced(tokens, bench.captioner.end, len(spoken.ids)))
            openings.append("")
        else:
            openings.append(bench.draw(name))
            scripts.append(forced(bench.captioner.encode(openings[-1])))
    for spoken, opening in zip(bench.say("short", scripts), openings, strict=True):
        omitted = spoken.text[len(opening) :].lstrip().startswith((".", ","))
        right = [name, "empty"] if opening and omitted else [name]
        yield Planted(name, bench.said(spoken, "short"), frozenset(right))


def _ended(bench: Bench, name: str) -> Iterator[Any]:
    """Long captions with a sentence behind them, beside the set's columns."""
    scripts: list[Script | None] = [
        forced(bench.captioner.encode(f" {bench.draw(name)}"), bench.captioner.end, len(spoken.ids))
        for spoken in bench.clean["long"]
    ]
    for spoken in bench.say("long", scripts, LOOP_LIMIT):
        columns = dict(bench.phrases["columns"])
        yield bench.said(spoken, "long", facts=columns, max_tokens=LOOP_LIMIT)


def _json(scene: Scene) -> str:
    shapes = [f"{shape.color} {shape.kind}" for shape in scene.shapes]
    return json.dumps({"count": len(shapes), "background": scene.background, "shapes": shapes})

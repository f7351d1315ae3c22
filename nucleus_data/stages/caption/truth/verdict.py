"""Evaluates truth tests: captions of other pictures, one text for many pictures, a blind model.

These are pure functions of texts, which also choose the pictures to ask about again; `probes` asks.

"Alone" means a request with nothing else in the engine. A caption that differs from the model's
answer alone proves nothing: other requests in the batch change the last bits of floating-point
sums, and near ties are then decided differently. A caption counts as that of another picture if all
of these hold:

- It is the model's answer for that other picture alone, and that picture looks different.
- At least a tenth of the other pictures' texts are more similar to the picture's own text. A near
  tie gives a similar text; the text of a swapped picture is only as similar as by chance.
- It is not a text that the model rightly gives for many pictures ("no text", a refusal).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nucleus_data.hashing import keyed_uint64

STOPS_AT = 2  # captions of another picture that stop the run
SHARED_STOPS_AT = 3  # different pictures with one text that none of them has alone, to stop
SHARED_FROM = 0.03  # minimum share of such pictures, as near ties may end in a common refusal
LOOKS_DIFFERENT = 6.0  # minimum mean difference of two thumbnails, of 255
STRANGE_FROM = 0.1  # minimum share of other texts that are more similar to a picture's own text
OF_A_TEXT = 6  # maximum number of pictures with the same text that are asked about again


@dataclass(frozen=True)
class Alone:
    """The model's answer with nothing else in the engine.

    Attributes:
        text: The text, possibly truncated, as probes are given few tokens.
        cut: Whether it is truncated.
    """

    text: str
    cut: bool = False

    def is_said(self, text: str) -> bool:
        """Whether a complete caption agrees with this answer."""
        if not self.cut:
            return text == self.text
        # The last token may be a part of a character, or end with a space that was removed.
        return text.startswith(self.text.rstrip("\ufffd").rstrip())


@dataclass(eq=False)
class Probe:
    """A caption of the run, and the model's answer for the same picture alone.

    Attributes:
        key: The request's key.
        variant: The variant.
        id: The record's id.
        order: Number of the request in the window.
        look: The picture's thumbnail.
        crowd: The caption of the run, made among other requests; None until it arrives.
        alone: The answer alone; None if not asked.
        grey: The answer for a grey picture of the same size; None if not asked.
    """

    key: str
    variant: str
    id: str
    order: int
    look: NDArray[np.float32]
    crowd: str | None = None
    alone: Alone | None = None
    grey: Alone | None = None

    @property
    def same(self) -> bool:
        """Whether the answer alone agrees with the caption of the run."""
        return self.alone is not None and self.alone.is_said(self.crowd or "")


@dataclass
class Verdict:
    """The result of truth tests.

    Attributes:
        swapped: Pairs of a picture and the other one whose caption it has.
        shared: Different pictures with a common text that belongs to none of them.
        unlike: Pictures for which the answer alone differs, whatever the cause.
        like_grey: Pictures with the same answer as a grey one.
    """

    swapped: list[tuple[Probe, Probe]] = field(default_factory=list)
    shared: list[Probe] = field(default_factory=list)
    unlike: list[Probe] = field(default_factory=list)
    like_grey: list[Probe] = field(default_factory=list)

    @property
    def mixed_up(self) -> bool:
        """Whether captions belong to other pictures."""
        return len(self.swapped) >= STOPS_AT or len(self.shared) >= SHARED_STOPS_AT

    @property
    def maybe_blind(self) -> bool:
        """Whether the model may be blind; some questions have one answer for most pictures."""
        return len(self.like_grey) >= STOPS_AT


def judge(window: Iterable[Probe]) -> Verdict:
    """Evaluates the answers so far.

    Args:
        window: The run's captions in the window, including those asked about alone.
    """
    verdict = Verdict()
    answered = [probe for probe in window if probe.crowd is not None]
    for variant in sorted({probe.variant for probe in answered}):
        _judge_variant([probe for probe in answered if probe.variant == variant], verdict)
    verdict.like_grey = [p for p in answered if p.grey is not None and p.grey.is_said(_text(p))]
    return verdict


def _judge_variant(answered: Sequence[Probe], verdict: Verdict) -> None:
    asked = [probe for probe in answered if probe.alone is not None]
    unlike = [probe for probe in asked if not probe.same]
    verdict.unlike += unlike
    by_text: dict[str, list[Probe]] = defaultdict(list)
    for probe in unlike:
        if _is_strange(probe, answered):
            by_text[probe.crowd or ""].append(probe)
    for text, wrong in by_text.items():
        owners = [p for p in asked if p.alone is not None and p.alone.is_said(text)]
        right = sum(p.crowd == text for p in owners)
        if right > max(1, len(wrong)):
            continue
        for probe in wrong:
            others = [o for o in owners if o is not probe and looks_different(o, probe)]
            if others:
                verdict.swapped.append(
                    (probe, min(others, key=lambda o: abs(o.order - probe.order)))
                )
        common = sum(p.crowd == text for p in answered) >= max(
            SHARED_STOPS_AT, SHARED_FROM * len(answered)
        )
        if not owners and common and len({p.alone for p in wrong}) >= SHARED_STOPS_AT:
            verdict.shared += wrong


def _is_strange(probe: Probe, answered: Sequence[Probe]) -> bool:
    """Whether a tenth of the other pictures' texts are more similar to a picture's own text."""
    assert probe.alone is not None
    size = max(len(probe.alone.text), 1)
    own, got = _pieces(probe.alone.text), (probe.crowd or "")[:size]
    likeness = _likeness(own, _pieces(got))
    others = [_text(p)[:size] for p in answered if p is not probe]
    references = [text for text in others if text not in (got, probe.alone.text)]
    nearer = sum(_likeness(own, _pieces(text)) > likeness for text in references)
    # At least two, as one may be of a duplicate of the picture.
    return nearer >= max(2 if len(references) > 3 else 1, STRANGE_FROM * len(references))


def _text(probe: Probe) -> str:
    return probe.alone.text if probe.alone is not None else probe.crowd or ""


def _pieces(text: str) -> set[str]:
    """Returns a text's character trigrams, which work for any language, with or without spaces."""
    text = f" {text.casefold()} "
    return {text[i : i + 3] for i in range(len(text) - 2)}


def _likeness(first: set[str], second: set[str]) -> float:
    return len(first & second) / max(len(first | second), 1)


def looks_different(one: Probe, other: Probe) -> bool:
    """Whether two pictures' thumbnails differ."""
    return float(np.abs(one.look - other.look).mean()) > LOOKS_DIFFERENT


def dissimilar(window: Sequence[Probe], known: Sequence[Probe], count: int) -> list[Probe]:
    """Chooses dissimilar pictures by farthest-point sampling of their thumbnails.

    Args:
        window: The pictures to choose from; the result does not depend on their order.
        known: Pictures chosen before.
        count: Number of pictures to choose.
    """
    left = sorted((p for p in window if p not in known), key=lambda p: _keyed(p))
    if not left:
        return []
    looks = np.stack([probe.look.ravel() for probe in left])
    nearest = np.full(len(left), np.inf, np.float32)
    for probe in known:
        nearest = np.minimum(nearest, np.abs(looks - probe.look.ravel()).mean(axis=1))
    chosen: list[int] = []
    for _ in range(min(count, len(left))):
        farthest = int(nearest.argmax())  # the first one of a tie
        chosen.append(farthest)
        nearest = np.minimum(nearest, np.abs(looks - looks[farthest]).mean(axis=1))
        nearest[farthest] = -1
    return [left[number] for number in chosen]


def suspects(window: Sequence[Probe], count: int) -> list[Probe]:
    """Chooses different pictures with the same caption, to be asked about again.

    Those with the longest texts come first, as short texts are often rightly the same.

    Args:
        window: The run's captions in the window.
        count: Maximum number of pictures.
    """
    groups: dict[tuple[str, str], list[Probe]] = defaultdict(list)
    for probe in sorted(window, key=lambda p: p.order):
        if probe.crowd:
            groups[probe.variant, probe.crowd].append(probe)
    chosen: list[Probe] = []
    for (_, _), group in sorted(groups.items(), key=lambda item: (-len(item[0][1]), item[0])):
        # Includes the first one: if the engine reused an old picture, the text is that picture's.
        members = [group[0], *sorted(group[1:], key=_keyed)][:OF_A_TEXT]
        if any(looks_different(members[0], other) for other in members[1:]):
            chosen += [probe for probe in members if probe.alone is None]
    return chosen[:count]


def neighbours(window: Sequence[Probe], verdict: Verdict, count: int) -> list[Probe]:
    """Chooses pictures asked just before and after those whose answers differ, the likely owners.

    Args:
        window: The run's captions in the window.
        verdict: The current result.
        count: Maximum number of pictures.
    """
    chosen: list[Probe] = []
    for probe in verdict.unlike:
        line = sorted((p for p in window if p.variant == probe.variant), key=lambda p: p.order)
        if _is_strange(probe, [p for p in line if p.crowd is not None]):
            at = line.index(probe)
            beside = [*line[max(at - 1, 0) : at], *line[at + 1 : at + 2]]
            chosen += [p for p in beside if p.alone is None and p.crowd and p not in chosen]
    return chosen[:count]


def _keyed(probe: Probe) -> tuple[int, str]:
    return keyed_uint64("caption.probes", 0, probe.id), probe.key

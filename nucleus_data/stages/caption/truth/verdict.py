"""What truth tests show: captions of another picture, one text for many, a model that is blind.

Pure functions of texts. `truth` asks; here is which pictures it asks about again, and what follows.

A text that differs from what the model says alone proves nothing: with other requests in the batch,
floating-point sums have other last bits, and a near tie ends the other way. It counts as another
picture's where all of these hold:

- It is what the model says of that other picture alone, and that picture looks different.
- It is less like the picture's own text than a tenth of the other pictures' texts are. A near tie
  gives a text like the own one; a swapped picture's text is like the own one by chance.
- It is not what the model rightly says of many pictures ("no text", a refusal).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nucleus_data.hashing import keyed_uint64

STOPS_AT = 2  # captions of another picture
SHARED_STOPS_AT = 3  # different pictures with one text, which none of them has alone
SHARED_FROM = 0.03  # of all pictures: some near ties end in the same text, a refusal
LOOKS_DIFFERENT = 6.0  # mean difference of two thumbnails, of 255
STRANGE_FROM = 0.1  # share of other texts that are more like a picture's own text
OF_A_TEXT = 6  # pictures with the same text that are asked about again


@dataclass(frozen=True)
class Alone:
    """What the model said with nothing else in the engine.

    Attributes:
        text: Perhaps cut, as alone it is given few tokens.
        cut: Whether it is.
    """

    text: str
    cut: bool = False

    def is_said(self, text: str) -> bool:
        """Whether a whole caption is this one."""
        if not self.cut:
            return text == self.text
        # The last token may be half of a letter, or end in a space that was removed.
        return text.startswith(self.text.rstrip("\ufffd").rstrip())


@dataclass(eq=False)
class Probe:
    """A caption of the run, and what the model says of the same picture alone.

    Attributes:
        key: Of the request.
        variant: The question.
        id: The record.
        order: When it was asked, among those of the window.
        look: The picture's thumbnail.
        crowd: What was said among the run's requests; None until it came.
        alone: What was said alone; None if it was not asked.
        grey: What was said of a grey picture of its size.
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
        """Whether the model said alone what it said among others."""
        return self.alone is not None and self.alone.is_said(self.crowd or "")


@dataclass
class Verdict:
    """What was found.

    Attributes:
        swapped: Pictures that have another one's caption, and that other one.
        shared: Different pictures with one text, which is none of theirs.
        unlike: Pictures about which the model said another thing alone, whatever the cause.
        like_grey: Pictures of which it says what it says of a grey one.
    """

    swapped: list[tuple[Probe, Probe]] = field(default_factory=list)
    shared: list[Probe] = field(default_factory=list)
    unlike: list[Probe] = field(default_factory=list)
    like_grey: list[Probe] = field(default_factory=list)

    @property
    def mixed_up(self) -> bool:
        """Whether captions are of other pictures."""
        return len(self.swapped) >= STOPS_AT or len(self.shared) >= SHARED_STOPS_AT

    @property
    def maybe_blind(self) -> bool:
        """Whether the model may not see: some questions have one answer for most pictures."""
        return len(self.like_grey) >= STOPS_AT


def judge(window: Iterable[Probe]) -> Verdict:
    """What the answers show.

    Args:
        window: The run's captions that may be compared, those that were asked about alone among
            them.
    """
    found = Verdict()
    said = [probe for probe in window if probe.crowd is not None]
    for variant in sorted({probe.variant for probe in said}):
        _judge_variant([probe for probe in said if probe.variant == variant], found)
    found.like_grey = [p for p in said if p.grey is not None and p.grey.is_said(_text(p))]
    return found


def _judge_variant(said: Sequence[Probe], found: Verdict) -> None:
    asked = [probe for probe in said if probe.alone is not None]
    unlike = [probe for probe in asked if not probe.same]
    found.unlike += unlike
    by_text: dict[str, list[Probe]] = defaultdict(list)
    for probe in unlike:
        if _is_strange(probe, said):
            by_text[probe.crowd or ""].append(probe)
    for text, wrong in by_text.items():
        owners = [p for p in asked if p.alone is not None and p.alone.is_said(text)]
        right = sum(p.crowd == text for p in owners)
        if right > max(1, len(wrong)):
            continue
        for probe in wrong:
            others = [o for o in owners if o is not probe and looks_different(o, probe)]
            if others:
                found.swapped.append((probe, min(others, key=lambda o: abs(o.order - probe.order))))
        common = sum(p.crowd == text for p in said) >= max(SHARED_STOPS_AT, SHARED_FROM * len(said))
        if not owners and common and len({p.alone for p in wrong}) >= SHARED_STOPS_AT:
            found.shared += wrong


def _is_strange(probe: Probe, said: Sequence[Probe]) -> bool:
    """Whether a picture's text is less like its own than a tenth of the other pictures' texts."""
    assert probe.alone is not None
    size = max(len(probe.alone.text), 1)
    own, got = _pieces(probe.alone.text), (probe.crowd or "")[:size]
    likeness = _likeness(own, _pieces(got))
    others = [_text(p)[:size] for p in said if p is not probe]
    references = [text for text in others if text not in (got, probe.alone.text)]
    nearer = sum(_likeness(own, _pieces(text)) > likeness for text in references)
    # Two of few: one may be a copy of the picture.
    return nearer >= max(2 if len(references) > 3 else 1, STRANGE_FROM * len(references))


def _text(probe: Probe) -> str:
    return probe.alone.text if probe.alone is not None else probe.crowd or ""


def _pieces(text: str) -> set[str]:
    """Three letters each: words in any language, also in those that have no spaces."""
    text = f" {text.casefold()} "
    return {text[i : i + 3] for i in range(len(text) - 2)}


def _likeness(one: set[str], other: set[str]) -> float:
    return len(one & other) / max(len(one | other), 1)


def looks_different(one: Probe, other: Probe) -> bool:
    """Whether two pictures' thumbnails are unlike."""
    return float(np.abs(one.look - other.look).mean()) > LOOKS_DIFFERENT


def dissimilar(window: Sequence[Probe], known: Sequence[Probe], count: int) -> list[Probe]:
    """Pictures of a window as unlike each other as may be: each is the farthest from all before.

    Args:
        window: To choose from; what comes out does not depend on their order.
        known: Chosen before.
        count: How many.
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
        farthest = int(nearest.argmax())  # the first of equal ones
        chosen.append(farthest)
        nearest = np.minimum(nearest, np.abs(looks - looks[farthest]).mean(axis=1))
        nearest[farthest] = -1
    return [left[number] for number in chosen]


def suspects(window: Sequence[Probe], count: int) -> list[Probe]:
    """Different pictures with the same caption, which are to be asked about again.

    The longest texts come first: short ones are the same by nature.

    Args:
        window: The run's captions.
        count: How many pictures at most.
    """
    groups: dict[tuple[str, str], list[Probe]] = defaultdict(list)
    for probe in sorted(window, key=lambda p: p.order):
        if probe.crowd:
            groups[probe.variant, probe.crowd].append(probe)
    found: list[Probe] = []
    for (_, _), group in sorted(groups.items(), key=lambda item: (-len(item[0][1]), item[0])):
        # The first one is asked about too: where the engine goes on with an old picture, it is its.
        members = [group[0], *sorted(group[1:], key=_keyed)][:OF_A_TEXT]
        if any(looks_different(members[0], other) for other in members[1:]):
            found += [probe for probe in members if probe.alone is None]
    return found[:count]


def neighbours(window: Sequence[Probe], verdict: Verdict, count: int) -> list[Probe]:
    """Those asked just before and after pictures about which another thing was said.

    Args:
        window: The run's captions.
        verdict: Of now.
        count: How many pictures at most.
    """
    found: list[Probe] = []
    for probe in verdict.unlike:
        line = sorted((p for p in window if p.variant == probe.variant), key=lambda p: p.order)
        if _is_strange(probe, [p for p in line if p.crowd is not None]):
            at = line.index(probe)
            beside = [*line[max(at - 1, 0) : at], *line[at + 1 : at + 2]]
            found += [p for p in beside if p.alone is None and p.crowd and p not in found]
    return found[:count]


def _keyed(probe: Probe) -> tuple[int, str]:
    return keyed_uint64("caption.probes", 0, probe.id), probe.key

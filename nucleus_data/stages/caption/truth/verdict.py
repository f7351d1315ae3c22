"""Evaluates truth tests: captions of other pictures, one text for many pictures, a blind model.

These are pure functions of texts; `choosing` chooses the pictures, and `probes` asks.

"Alone" means a request with nothing else in the engine. A caption that differs from the model's
answer alone proves nothing: other requests in the batch change the last bits of floating-point
sums, and near ties are then decided differently. A caption counts as that of another picture if all
of these hold:

- It is the model's answer for that other picture alone, and that picture looks different.
- At least a tenth of the other pictures' texts are more similar to the picture's own text. A near
  tie gives a similar text; the text of a swapped picture is only as similar as by chance.
- It is not a text that the model rightly gives for many pictures ("no text", a refusal), and most
  of its answers are not common.

Where answers are common, such as labels, only many captions together are evidence (`collective`):

- They resemble the model's answers alone hardly more than those for other pictures.
- Those that differ from the answers alone are the answers for the picture before, or after, more
  often than by chance.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nucleus_data.stages.caption.truth.collective import at_least, likeness, pieces, shortfall

STOPS_AT = 2  # captions of another picture that stop the run
SHARED_STOPS_AT = 3  # different pictures with one text that none of them has alone, to stop
SHARED_FROM = 0.03  # minimum share of such pictures, as near ties may end in a common refusal
LOOKS_DIFFERENT = 6.0  # minimum mean difference of two thumbnails, of 255
STRANGE_FROM = 0.1  # minimum share of other texts that are more similar to a picture's own text
# Standard deviations of `shortfall`. Measured in runs of 280 pictures: -3 to 0.4 if batching
# changes 30 % of labels, 5 to 7.5 if all are swapped. If it changes half, 3 is one run in 700.
DOUBTS_AT = 2.0
UNLIKE_STOPS_AT = 3.0
BY_CHANCE = 1e-4  # maximum probability that answers are the neighbours' by chance, to stop


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
        faded: How many of two descriptions are those of a grey picture; None if not asked.
    """

    key: str
    variant: str
    id: str
    order: int
    look: NDArray[np.float32]
    crowd: str | None = None
    alone: Alone | None = None
    grey: Alone | None = None
    faded: int | None = None

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
        doubtful: Those of `unlike` whose variant has a `shortfall` of at least `DOUBTS_AT`.
        shortfall: The highest `collective.shortfall` of a variant.
        greys: Pictures in whose place a grey one was shown.
    """

    swapped: list[tuple[Probe, Probe]] = field(default_factory=list)
    shared: list[Probe] = field(default_factory=list)
    unlike: list[Probe] = field(default_factory=list)
    doubtful: list[Probe] = field(default_factory=list)
    shortfall: float = 0.0
    greys: list[Probe] = field(default_factory=list)

    @property
    def mixed_up(self) -> bool:
        """Whether captions belong to other pictures."""
        return (
            len(self.swapped) >= STOPS_AT
            or len(self.shared) >= SHARED_STOPS_AT
            or self.shortfall >= UNLIKE_STOPS_AT
        )

    @property
    def like_grey(self) -> list[Probe]:
        """Pictures with the same answer as a grey one."""
        return [p for p in self.greys if p.grey is not None and p.grey.is_said(_text(p))]

    @property
    def maybe_blind(self) -> bool:
        """Whether the model may be blind; some questions have one answer for most pictures."""
        return len(self.like_grey) >= STOPS_AT

    @property
    def described(self) -> list[Probe]:
        """Pictures that were described, as were grey ones."""
        return [probe for probe in self.greys if probe.faded is not None]

    @property
    def faded(self) -> list[Probe]:
        """Pictures that were described like grey ones, at least once."""
        return [probe for probe in self.greys if probe.faded]

    @property
    def blind(self) -> bool:
        """Whether the model does not see pictures, or not always.

        A model that refuses grey pictures may refuse some others, but always the same ones.
        """
        faded, at_times = self.faded, sum(probe.faded == 1 for probe in self.faded)
        all_faded = len(faded) >= STOPS_AT and len(faded) == len(self.described)
        return self.maybe_blind and (all_faded or at_times >= STOPS_AT)

    @property
    def unexplained(self) -> list[Probe]:
        """Pictures with the answer of a grey one, unless the question explains these answers."""
        explained = len(self.described) >= STOPS_AT and not self.faded
        return self.like_grey if self.maybe_blind and not explained else []


def judge(window: Iterable[Probe]) -> Verdict:
    """Evaluates the answers so far.

    Args:
        window: The run's captions in the window, including those asked about alone.
    """
    verdict = Verdict()
    answered = [probe for probe in window if probe.crowd is not None]
    for variant in sorted({probe.variant for probe in answered}):
        _judge_variant([probe for probe in answered if probe.variant == variant], verdict)
    verdict.greys = [probe for probe in answered if probe.grey is not None]
    return verdict


def _judge_variant(answered: Sequence[Probe], verdict: Verdict) -> None:
    asked = [probe for probe in answered if probe.alone is not None]
    unlike = [probe for probe in asked if not probe.same]
    verdict.unlike += unlike
    by_text: dict[str, list[Probe]] = defaultdict(list)
    for probe in unlike:
        if is_strange(probe, answered):
            by_text[probe.crowd or ""].append(probe)
    closed = _is_closed(asked, answered)
    for text, wrong in by_text.items():
        owners = [p for p in asked if p.alone is not None and p.alone.is_said(text)]
        if not closed:
            verdict.swapped += _of_others(wrong, owners, text)
        common = sum(p.crowd == text for p in answered) >= max(
            SHARED_STOPS_AT, SHARED_FROM * len(answered)
        )
        if not owners and common and len({p.alone for p in wrong}) >= SHARED_STOPS_AT:
            verdict.shared += wrong
    line = sorted(answered, key=lambda probe: probe.order)
    for step in (-1, 1):
        known = {probe for probe, _ in verdict.swapped}
        verdict.swapped += [pair for pair in _of_neighbours(line, step) if pair[0] not in known]
    missing = shortfall([_comparable(p) for p in asked], [_text(p) for p in asked])
    verdict.shortfall = max(verdict.shortfall, missing)
    if missing >= DOUBTS_AT:
        verdict.doubtful += unlike


def _is_closed(asked: Sequence[Probe], answered: Sequence[Probe]) -> bool:
    """Whether most answers alone are also those of at least two different pictures.

    Swaps can't do that: where two pictures get the text of a third one, two texts are lost.
    """
    common = 0
    for probe in asked:
        same = [p for p in answered if p is not probe and _text(p) == _text(probe)]
        common += sum(looks_different(p, probe) for p in same) > 1
    return common > len(asked) / 2


def _of_others(
    wrong: Sequence[Probe], owners: Sequence[Probe], text: str
) -> list[tuple[Probe, Probe]]:
    """Returns pictures with a text that is another one's, unless it is rightly that of many."""
    if sum(p.crowd == text for p in owners) > max(1, len(wrong)):
        return []
    pairs = []
    for probe in wrong:
        others = [o for o in owners if o is not probe and looks_different(o, probe)]
        if others:
            pairs.append((probe, min(others, key=lambda o: abs(o.order - probe.order))))
    return pairs


def _of_neighbours(line: Sequence[Probe], step: int) -> list[tuple[Probe, Probe]]:
    """Returns captions that are the neighbours' answers, if too many to be so by chance.

    Args:
        line: A variant's captions, in order.
        step: -1 for the picture before, 1 for the one after.
    """
    beside = [pair[::step] for pair in pairwise(line)]
    pairs = [
        (probe, other)
        for probe, other in beside
        if probe.alone is not None and not probe.same and other.alone is not None
        if looks_different(other, probe)
    ]
    if sum(_has_text_of(probe, other) for probe, other in pairs) < STOPS_AT:
        return []  # before the slow part
    pairs = [pair for pair in pairs if is_strange(pair[0], line, ties=0.5)]
    found = [(probe, other) for probe, other in pairs if _has_text_of(probe, other)]
    texts = [_text(probe) for probe in line]
    chances = []
    for probe, _ in pairs:
        said = probe.crowd or ""
        # Neighbours may resemble each other: what else is beside pictures of this answer?
        usual = [_text(other) for own, other in beside if _text(own) == _text(probe)]
        chances.append(
            max((texts.count(said) + 1) / (len(texts) + 1), usual.count(said) / len(usual))
        )
    return found if at_least(chances, len(found)) < BY_CHANCE else []


def _has_text_of(probe: Probe, other: Probe) -> bool:
    return other.alone is not None and other.alone.is_said(probe.crowd or "")


def is_strange(probe: Probe, answered: Sequence[Probe], ties: float = 0) -> bool:
    """Whether a tenth of the other pictures' texts are more similar to a picture's own text.

    Args:
        probe: The picture.
        answered: All pictures of the variant.
        ties: What an equal or equally similar text counts; 1/2 finds labels, too.
    """
    assert probe.alone is not None
    size = max(len(probe.alone.text), 1)
    own, got = pieces(probe.alone.text), (probe.crowd or "")[:size]
    limit = likeness(own, pieces(got))
    others = [_text(p)[:size] for p in answered if p is not probe]
    equal = {probe.alone.text} if ties else {probe.alone.text, got}
    references = [text for text in others if text not in equal]
    alike = [likeness(own, pieces(text)) for text in references]
    nearer = sum(found > limit for found in alike) + ties * sum(found == limit for found in alike)
    # At least two, as one may be of a duplicate of the picture.
    return nearer >= max(2 if len(references) > 3 else 1, STRANGE_FROM * len(references))


def _text(probe: Probe) -> str:
    return probe.alone.text if probe.alone is not None else probe.crowd or ""


def _comparable(probe: Probe) -> str:
    """Returns a caption, truncated like the answer alone."""
    text = probe.crowd or ""
    if probe.alone is None or not probe.alone.cut:
        return text
    return probe.alone.text if probe.same else text[: len(probe.alone.text)]


def looks_different(one: Probe, other: Probe) -> bool:
    """Whether two pictures' thumbnails differ."""
    return float(np.abs(one.look - other.look).mean()) > LOOKS_DIFFERENT

"""A verdict in a line: what differs, by how much, what does not, and on how many seeds.

    B is better: captions carry 31 % more (27 to 35), pictures equal; 6 seeds, 2.1 M image tokens

Equal is said only where the whole interval lies within the measure's margin. What is neither told
apart nor shown to be equal is "not told apart".
"""

from collections.abc import Mapping, Sequence

import numpy as np

from nucleus_model.training.verdict.findings import Finding
from nucleus_model.training.verdict.ratios import changes

UNREAD = "captions are not judged, as nothing was learned of them"
HEADS = {
    "better": "B is better",
    "worse": "B is worse",
    "mixed": "B is better in one way and worse in another",
}
# What people call a measure where its change is told.
WORDS: Mapping[str, str] = {
    "loss": "loss",
    "low_sigma": "loss at little noise",
    "high_sigma": "loss at much noise",
    "caption_gap": "what true captions save",
    "empty_gap": "what captions save",
    "memorised": "what training on a picture saves",
}


def sentence(
    word: str,
    findings: Sequence[Finding],
    replicates: tuple[int, int],
    *,
    pairs: bool = True,
    image_tokens: int | None = None,
) -> str:
    """The verdict in a line.

    Args:
        word: `better`, `worse`, `mixed` or `no difference`.
        findings: In the order of `findings.MEASURES`.
        replicates: Of each arm.
        pairs: Whether seeds are pairs.
        image_tokens: That all runs together have trained on; None where nobody counted.
    """
    end = _size(replicates, pairs=pairs, image_tokens=image_tokens)
    loss = findings[0]
    if word == "no difference":
        return (
            f"no difference that this run could have seen; the smallest it could see is "
            f"{_share(loss)} of the loss{_unread(findings)}; {end}"
        )
    said = []
    for about in ("captions", "pictures", "duplicates"):
        mine = [finding for finding in findings if finding.measure.about == about]
        if text := _about(about, mine):
            said.append(text)
    if not any(finding.direction for finding in findings[1:]):
        said = [_change(loss)]
    elif word == "mixed" and loss.direction:
        # Duplicates make captions carry more, and the loss higher: the gap alone would mislead.
        said.append(_change(loss))
    return f"{HEADS[word]}: {', '.join(said)}; {end}"


def _size(replicates: tuple[int, int], *, pairs: bool, image_tokens: int | None) -> str:
    one, other = replicates
    seeds = f"{one} seeds" if one == other else f"{one} and {other} seeds"
    if not pairs:
        # Seeds of sets with other pictures have nothing in common.
        seeds += " that are no pairs"
    if image_tokens is None:
        return seeds
    millions = image_tokens / 1e6
    told = f"{millions:.1f} M" if millions >= 0.1 else f"{image_tokens:,}"
    return f"{seeds}, {told} image tokens"


def _share(loss: Finding) -> str:
    if not loss.a or not np.isfinite(loss.detectable):
        return "an unknown share"
    return f"{_figure(100 * loss.detectable / abs(loss.a))} %"


def _about(about: str, findings: Sequence[Finding]) -> str:
    """What the measures of one kind say; nothing of duplicates that are not seen."""
    told = [finding for finding in findings if finding.direction]
    if not told:
        if about == "duplicates":
            return ""
        if unread := _unread(findings):
            return unread.removeprefix(", and ")
        equal = all(finding.equal for finding in findings)
        return f"{about} {'equal' if equal else 'not told apart'}"
    if about == "duplicates":
        return f"it is memorised {'less' if told[0].direction > 0 else 'more'}"
    gap = next((finding for finding in told if finding.measure.name == "caption_gap"), None)
    if gap is not None and gap.ratio is not None:
        first = gap
        (mean, low, high), fewer = changes(gap.ratio)
        word = "less" if fewer else "more"
        text = f"captions carry {_figure(mean)} % {word} ({_figure(low)} to {_figure(high)})"
    else:
        first = min(told, key=lambda finding: finding.p)
        text = f"{about} {'better' if first.direction > 0 else 'worse'} ({_change(first)})"
    against = [finding for finding in told if finding.direction != first.direction]
    return text + "".join(f", but {_change(finding)}" for finding in against[:1])


def _unread(findings: Sequence[Finding]) -> str:
    """That captions are not judged: with true ones A does no better than with any others.

    Runs that have learned nothing of captions, in words that the text encoder does not know for
    example, are as good with spoiled ones.
    """
    gap = next((found for found in findings if found.measure.name == "caption_gap"), None)
    if gap is None or gap.ratio is not None or gap.direction:
        return ""
    return f", and {UNREAD}"


def _change(finding: Finding) -> str:
    """By how much a measure differs: in percent where that can be said."""
    name, times = WORDS[finding.measure.name], finding.ratio
    if times is not None:
        (mean, low, high), fewer = changes(times)
        word = "lower" if fewer else "higher"
        return f"{name} {_figure(mean)} % {word}, {_figure(low)} to {_figure(high)}"
    found = finding.interval
    ends = [
        "unbounded" if not np.isfinite(end) else f"{end:+.3g}" for end in (found.low, found.high)
    ]
    return f"{name} {found.mean:+.3g}, {ends[0]} to {ends[1]}"


def _figure(percent: float) -> str:
    """Two digits, or all that stand before the point: 0.84, 3.1, 31, 131."""
    return f"{percent:.0f}" if abs(percent) >= 10 else f"{percent:.2g}"

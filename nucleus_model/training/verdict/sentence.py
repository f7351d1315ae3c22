"""Words a verdict in one line: what differs, by how much, what does not, and on how many seeds.

    B is better: captions carry 31 % more (27 to 35), pictures equal; 6 seeds, 2.1 M image tokens

"Equal" is only used if the whole interval lies within the equivalence margin. What is neither
significantly different nor shown to be equal is "not told apart".
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
# Of fewer seeds, false alarms were never counted: all of the self-test's comparisons have six.
FEW = 6
# How the sentence names a measure when it states its change.
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
    image_tokens: tuple[int, int] | None = None,
    facts: Sequence[str] = (),
) -> str:
    """Returns the verdict in one line.

    Args:
        word: `better`, `worse`, `mixed` or `no difference`.
        findings: The results, in the order of `findings.MEASURES`.
        replicates: Number of replicates of each arm.
        pairs: Whether seeds are paired.
        image_tokens: Image tokens of all runs of A, and of B; None if unknown.
        facts: Clauses about the sets (`facts.stated`); the line has them whatever the word is.
    """
    size = _size(replicates, pairs=pairs, image_tokens=image_tokens)
    end = "; ".join([*facts, size])
    loss = findings[0]
    # Significant findings that do not count, and whose direction is not that of the word.
    aside = [
        finding
        for finding in findings
        if finding.direction and not finding.counts
        if finding.direction != {"better": 1, "worse": -1}.get(word)
    ]
    if word == "no difference" and aside:
        return (
            f"no difference that makes B better or worse ({_change(aside[0])}); the smallest that "
            f"this run could have seen is {_share(loss)} of the loss{_unread(findings)}; {end}"
        )
    if word == "no difference":
        return (
            f"no difference that this run could have seen; the smallest it could see is "
            f"{_share(loss)} of the loss{_unread(findings)}; {end}"
        )
    parts = []
    for about in ("captions", "pictures", "duplicates"):
        of_kind = [finding for finding in findings if finding.measure.about == about]
        if text := _about(about, of_kind):
            parts.append(text)
    if not any(finding.counts for finding in findings[1:]):
        parts = [_change(loss)]
    elif word == "mixed" and loss.direction:
        # With duplicates, captions carry more while the loss rises: the gap alone would mislead.
        parts.append(_change(loss))
    parts += [f"but {_change(finding)}{_scaled(finding)}" for finding in aside if word != "mixed"]
    return f"{HEADS[word]}: {', '.join(parts)}; {end}"


def _size(replicates: tuple[int, int], *, pairs: bool, image_tokens: tuple[int, int] | None) -> str:
    a, b = replicates
    # Runs with the same seed have nothing in common if the sets have other pictures.
    word = "seeds" if pairs else "unpaired seeds"
    seeds = f"{a} {word}" if a == b else f"{a} and {b} {word}"
    if min(replicates) < FEW:
        seeds = f"only {seeds} ({FEW} are advised)"
    if image_tokens is None:
        return seeds
    text = f"{seeds}, {_tokens(sum(image_tokens))} image tokens"
    if image_tokens[0] == image_tokens[1]:
        return text
    # A set without a bucket of the other fills its slots from one with another token count.
    words = [_tokens(count) for count in image_tokens]
    in_a, in_b = words if words[0] != words[1] else (f"{count:,}" for count in image_tokens)
    return f"{text} ({in_a} in A, {in_b} in B)"


def _tokens(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count:,}"


def _share(loss: Finding) -> str:
    if not loss.a or not np.isfinite(loss.detectable):
        return "an unknown share"
    return f"{figure(100 * loss.detectable / abs(loss.a))} %"


def _about(about: str, findings: Sequence[Finding]) -> str:
    """Words the results of one kind of measure; empty for duplicates without an effect."""
    significant = [finding for finding in findings if finding.counts]
    if not significant:
        if about == "duplicates":
            return ""
        if unread := _unread(findings):
            return unread.removeprefix(", and ")
        equal = all(finding.equal for finding in findings)
        return f"{about} {'equal' if equal else 'not told apart'}"
    if about == "duplicates":
        return f"it is memorised {'less' if significant[0].direction > 0 else 'more'}"
    gap = next((finding for finding in significant if finding.measure.name == "caption_gap"), None)
    if gap is not None and gap.ratio is not None:
        first = gap
        (mean, low, high), fewer = changes(gap.ratio)
        word = "less" if fewer else "more"
        text = f"captions carry {figure(mean)} % {word} ({figure(low)} to {figure(high)})"
    else:
        first = min(significant, key=lambda finding: finding.p)
        text = f"{about} {'better' if first.direction > 0 else 'worse'} ({_change(first)})"
    against = [finding for finding in significant if finding.direction != first.direction]
    return text + "".join(f", but {_change(finding)}" for finding in against[:1])


def _unread(findings: Sequence[Finding]) -> str:
    """Returns a clause that captions are not judged, if nothing was learned from them.

    If A's loss is no better with true captions than with others (for example, because the text
    encoder does not know their words), spoiled captions can't make it worse.
    """
    gap = next((finding for finding in findings if finding.measure.name == "caption_gap"), None)
    if gap is None or gap.ratio is not None or gap.direction:
        return ""
    return f", and {UNREAD}"


def _scaled(finding: Finding) -> str:
    """Returns why a caption gap does not count, as a clause; empty for other measures."""
    return ", as the loss at much noise" if finding.measure.about == "captions" else ""


def _change(finding: Finding) -> str:
    """Words the change of a measure, in percent if the ratio is bounded."""
    name, times = WORDS[finding.measure.name], finding.ratio
    if times is not None:
        (mean, low, high), fewer = changes(times)
        word = "lower" if fewer else "higher"
        return f"{name} {figure(mean)} % {word}, {figure(low)} to {figure(high)}"
    interval = finding.interval
    ends = [
        "unbounded" if not np.isfinite(end) else f"{end:+.3g}"
        for end in (interval.low, interval.high)
    ]
    return f"{name} {interval.mean:+.3g}, {ends[0]} to {ends[1]}"


def figure(percent: float) -> str:
    """Formats a percentage with two significant digits, or as an integer: 0.84, 3.1, 31, 131."""
    return f"{percent:.0f}" if abs(percent) >= 10 else f"{percent:.2g}"

"""The lines of the self-test as Markdown."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from nucleus_model.training.verdict.drawn import Drawn, stored, weights
from nucleus_model.training.verdict.findings import counted, word
from nucleus_model.training.verdict.judge import NAMES, judge
from scripts.verdict.cases import SWAPPED
from scripts.verdict.faults import KINDS, dose_words, named

Line = Mapping[str, Any]
SHOWN = ("loss", "caption_gap", "low_sigma", "memorised")


def table(lines: Iterable[Line]) -> str:
    """All parts that have lines."""
    by_part: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        by_part[line["part"]].append(line)
    found: list[str] = []
    if by_part["aa"]:
        found += [*_equal_halves(by_part["aa"]), ""]
    if by_part["faults"] or by_part["repeats"]:
        found += [*_faults([*by_part["faults"], *by_part["repeats"]]), ""]
    if by_part["share"]:
        found += [*_shares(by_part["share"]), ""]
    return "\n".join(found)


def _rows(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _equal_halves(lines: Sequence[Line]) -> Iterator[str]:
    """How often equals are called different, by the verdict and by the controls.

    Each row has both counts: of comparisons with any measure that differs, and of those whose word
    is not "no difference". Rows "again" are judged from the stored means; these lack the variance
    of the pictures of `memorised`, so that they alarm as often as the verdict would, or more.
    """
    fitted = fitting_halves(lines)
    later = [line for line in lines if line.get("drawn")]
    verdict = f"the verdict, {lines[0]['replicates']} seeds each"
    # What it adds is fitted on the comparisons that are not judged by it.
    crossed = [[*map(arms_of, fitted[one::2])] for one in (0, 1)]
    first = "the first" if later else "all"
    judges = [
        (verdict, "the other", [(_found(line), _told(line)) for line in later]),
        (
            f"{verdict}, before the choice of a set's pictures counted",
            first,
            [(_found(line), _told(line)) for line in lines if not line.get("drawn")],
        ),
        ("seeds alone, again", first, [_alarm(*arms) for half in crossed for arms in half]),
        ("seeds alone, again", "the other", [_alarm(*arms_of(line)) for line in later]),
        (
            "seeds and the choice of a set's pictures, each half by what the other half tells of "
            "it, again",
            first,
            [
                _alarm(*arms, known=drawn_share(other))
                for half, other in (crossed, crossed[::-1])
                for arms in half
            ],
        ),
        (
            "a bootstrap over samples (must fail)",
            "all",
            [(bool(line["sample_alarms"]), None) for line in lines],
        ),
    ]
    rows = []
    for name, which, alarms in judges:
        if not alarms:
            continue
        count = sum(any_measure for any_measure, _ in alarms)
        low, high = binomial(count, len(alarms))
        share = f"{100 * count / len(alarms):.0f} % ({100 * low:.0f} to {100 * high:.0f})"
        words = [told for _, told in alarms if told is not None]
        told = str(sum(words)) if words else ""
        rows.append((name, f"{which} {len(alarms)}", str(count), share, told))
    header = ("equal halves judged by", "comparisons", "with an alarm of any measure")
    yield from _rows((*header, "rate (95 %)", "called better, worse or mixed"), rows)
    known = drawn_share([arms_of(line) for line in fitted])
    yield ""
    text = (
        f"The choice of a set's {known.pictures} pictures adds {100 * known.share:.1f} % of the "
        "variance of one seed"
    )
    if later:
        again = drawn_share([arms_of(line) for line in later])
        text += f"; fitted on the other {len(later)} instead, {100 * again.share:.1f} %"
    yield f"{text}."


def fitting_halves(lines: Sequence[Line]) -> list[Line]:
    """The comparisons of equal halves on which `drawn.json` was fitted: those before it was.

    All, if there are none of these.
    """
    return [line for line in lines if not line.get("drawn")] or list(lines)


def _found(line: Line) -> bool:
    return any(finding["direction"] for finding in line["findings"])


def _told(line: Line) -> bool:
    return word_of(line) != "no difference"


Arms = tuple[dict[str, dict[str, np.ndarray]], Mapping[str, int]]


def arms_of(line: Line) -> Arms:
    """What `drawn_share` takes of a comparison: its values and how many pictures its arms share."""
    values = {
        arm: {name: np.array(of) for name, of in line["values"][arm].items()} for arm in ("a", "b")
    }
    return values, line["shared"]


def _alarm(
    values: Mapping[str, Mapping[str, np.ndarray]],
    shared: Mapping[str, int],
    known: Drawn | None = None,
) -> tuple[bool, bool]:
    """Whether any measure of sets without a common picture differs, and whether they are judged so.

    Args:
        values: Arm -> measure -> one value per seed.
        shared: Numbers of pictures in both arms and in each alone.
        known: What the choice of a set's pictures adds; None for seeds alone.
    """
    drawn = (0.0, 0.0) if known is None else weights(known, shared)
    found = judge(values["a"], values["b"], pairs=False, drawn=drawn)
    return any(one.direction for one in found.findings), found.word != "no difference"


def drawn_share(lines: Sequence[Arms]) -> Drawn:
    """How much the choice of a set's pictures adds, by comparisons of equal halves.

    What B minus A varies by from comparison to comparison, less what seeds make of it, over the
    variance of one seed; the mean over the measures, 0 where chance made it less.
    """
    shares = []
    for name in NAMES:
        of = [(values["a"][name], values["b"][name]) for values, _ in lines]
        squares = np.mean([(b.mean() - a.mean()) ** 2 for a, b in of])
        seeds = np.mean([a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b) for a, b in of])
        single = np.mean([a.var(ddof=1) + b.var(ddof=1) for a, b in of])
        shares.append(max(0.0, float((squares - seeds) / single)))
    sizes = [own for _, shared in lines for own in (shared["a_only"], shared["b_only"])]
    return Drawn(float(np.mean(shares)), round(float(np.mean(sizes))), len(lines))


def binomial(hits: int, of: int) -> tuple[float, float]:
    """The exact 95 % interval of a share (Clopper and Pearson 1934)."""
    from scipy.special import betaincinv

    low = betaincinv(hits, of - hits + 1, 0.025) if hits else 0.0
    high = betaincinv(hits + 1, of - hits, 0.975) if hits < of else 1.0
    return float(low), float(high)


def _faults(lines: Sequence[Line]) -> Iterator[str]:
    """What each dose of each fault is called, and by how much it differs."""
    rows = []
    for kind in KINDS.values():
        for dose in kind.doses:
            mine = [line for line in lines if (line["kind"], line["dose"]) == (kind.name, dose)]
            if not mine:
                continue
            worse = sum(word_of(line) == "worse" for line in mine)
            said = [named(line["findings"]) for line in mine]
            right = sum(kind.about in kinds for kinds in said)
            also = Counter(k for kinds in said for k in kinds if k != kind.about)
            rows.append(
                (
                    kind.name,
                    dose_words(kind, dose),
                    f"{worse} of {len(mine)}",
                    f"{right} of {len(mine)}" if kind.about else "",
                    ", ".join(f"{name} {count}" for name, count in sorted(also.items())),
                    *(_difference(mine, name) for name in SHOWN),
                )
            )
    header = ("fault", "dose", "called worse", "named rightly", "and named", *SHOWN)
    yield from _rows(header, rows)
    yield ""
    yield from _rows(
        ("fault", "named as", "smallest dose called worse"),
        (
            (kind.name, kind.about or "anything", smallest(kind.name, lines))
            for kind in KINDS.values()
        ),
    )


def word_of(line: Line) -> str:
    """What B is, by what was found; a line's own word is that of the version that wrote it."""
    directions = {finding["name"]: finding["direction"] for finding in line["findings"]}
    values, shared = arms_of(line)
    drawn = weights(stored(line["preset"])[0], shared)
    again = judge(values["a"], values["b"], pairs=line["pairs"], drawn=drawn)
    return word(counted(directions, {one.measure.name: one.ratio for one in again.findings}))


def _difference(lines: Sequence[Line], name: str) -> str:
    """B minus A of a measure in the first comparison, with half its interval; bold where told."""
    (finding,) = (one for one in lines[0]["findings"] if one["name"] == name)
    half = (finding["high"] - finding["low"]) / 2
    text = f"{finding['mean']:+.4f} ± {half:.4f}"
    return f"**{text}**" if finding["direction"] else text


def smallest(name: str, lines: Iterable[Line]) -> str:
    """The smallest dose of a fault from which all comparisons say worse; a dash if none does."""
    kind, least = KINDS[name], "-"
    mine = [line for line in lines if line["kind"] == name]
    for dose in reversed(kind.doses):
        words = [word_of(line) for line in mine if line["dose"] == dose]
        if not words or set(words) != {"worse"}:
            break
        least = dose_words(kind, dose)
    return least


def _shares(lines: Sequence[Line]) -> Iterator[str]:
    """How far seeds of two arms belong together, by the share of their ids that differ."""
    rows = []
    for line in lines:
        for name in ("loss", "caption_gap"):
            a, b = (np.array(line["values"][arm][name]) for arm in ("a", "b"))
            both = line["shared"]["both"] / sum(line["shared"].values())
            rows.append(
                (
                    f"{100 * line['dose']:g} %",
                    f"{both:.2f}",
                    name,
                    f"{np.std(b - a, ddof=1):.2g}",
                    f"{np.hypot(np.std(a, ddof=1), np.std(b, ddof=1)):.2g}",
                    f"{np.corrcoef(a, b)[0, 1]:+.2f}",
                    "pairs" if line["pairs"] else "no pairs",
                )
            )
    header = (
        "ids that differ",
        "of all in both",
        "measure",
        "deviation of the difference, in pairs",
        "without pairs",
        "correlation",
        "judged as",
    )
    yield f"Each with {len(lines[0]['values']['a']['loss'])} seeds; {SWAPPED} 5 % in B."
    yield ""
    yield from _rows(header, rows)

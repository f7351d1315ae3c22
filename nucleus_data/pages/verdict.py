"""The page of a verdict: the verdict in a sentence, where two sets differ, and the limits of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nucleus_data.pages.charts.forest_plot import Line, forest
from nucleus_data.pages.charts.line_chart import Series, line_chart
from nucleus_data.pages.pictures import Picture
from nucleus_data.pages.report import environment, versions
from nucleus_data.printed import counted

ARMS = {"a": ("A", "line-a"), "b": ("B", "line-b")}
CURVES = {"loss": "loss of the steps", "grad_norm": "norm of the gradient"}
CSS = {1: "better", -1: "worse", 0: "equal"}
DRAWN = 24  # most groups of a kind in the chart; the table has all of them
FIRST = 24  # pictures that are visible at first
LEAST = 0.1  # least reach of the axis of groups, in percent


@dataclass(frozen=True)
class Sample:
    """A prompt, and the pictures that both arms drew for it.

    Attributes:
        prompt: The text.
        drawn: For each seed, the seed, and arm (`a` or `b`) -> the picture as a data URI.
    """

    prompt: str
    drawn: Sequence[tuple[int, Mapping[str, str]]]


def render_verdict(
    content: Mapping[str, Any],
    pictures: Mapping[str, Picture],
    samples: Sequence[Sample] = (),
    made_at: datetime | None = None,
) -> str:
    """Returns the page's HTML.

    Args:
        content: The content of a comparison's `verdict.json`.
        pictures: Id -> thumbnail, of reference pictures; missing ones are left out.
        samples: The pictures that both arms drew, by prompt.
        made_at: The time that is shown on the page; by default now.
    """
    values: dict[str, Any] = {
        **content,
        "made_at": (made_at or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M %Z").strip(),
        "versions": versions({}),
        "called": called,
        "unread": unread,
        "missed": missed,
        "css": css,
        "forest": _forest(content["findings"]),
        "bins_chart": _bins(content["bins"]),
        "group_tables": [
            (name, _groups(rows), rows, content["groups_hidden"].get(name, 0))
            for name, rows in content["groups"].items()
            # A single group has nearly all pictures, so that the measures above cover it.
            if len(rows) > 1
        ],
        "curve_charts": [
            (label, _curve(content["curves"][name], label), content["at_tokens"].get(name, []))
            for name, label in CURVES.items()
            if name in content["curves"]
        ],
        "changed": [
            (title, lead, [row for row in content[name] if row["id"] in pictures])
            for name, title, lead in (
                ("gained", "Learned more by B", "The largest falls of the loss, B against A."),
                ("lost", "Learned less by B", "The largest rises."),
            )
        ],
        "first": FIRST,
        "drawn": DRAWN,
        "pictures": pictures,
        "samples": samples,
    }
    return environment().get_template("verdict.html.j2").render(values)


def called(finding: Mapping[str, Any]) -> str:
    """Returns the result of a measure for B, in one to three words."""
    if not finding["direction"]:
        return "equal" if finding["equal"] else "not told apart"
    if finding["counts"]:
        return CSS[finding["direction"]]
    return "lower" if finding["interval"]["mean"] < 0 else "higher"


def unread(name: str, arm: Mapping[str, Any]) -> str:
    """Returns a line about an arm's pictures that could not be read, with examples."""
    lost = arm["unread"]
    pictures = counted(lost["pictures"], "picture")
    examples = "; ".join(f"{ident}: {why}" for ident, why in lost["examples"].items())
    return (
        f"{pictures} of {name.upper()} could not be read, and nothing was trained on them "
        f"({examples}). Restore the set's files, or make it again, and compare in another folder"
    )


def missed(target: Mapping[str, Any], seeds: int) -> str:
    """Returns a line about a half-width that the interval of the loss does not reach."""
    half = "unbounded" if target["half"] is None else f"{target['half']:.3g}"
    return (
        f"the half-width of {target['target']:.3g} was not reached: that of the loss is {half}, "
        f"with {counted(seeds, 'seed')}. --most allows more, in another folder"
    )


def css(finding: Mapping[str, Any]) -> str:
    """Returns the CSS class of a measure's badge; neutral if it does not count for the verdict."""
    return CSS[finding["direction"] if finding["counts"] else 0]


def _forest(findings: Sequence[Mapping[str, Any]]) -> Any:
    """Draws the six measures, in units of the detectable difference; right is better for B."""
    lines = []
    for finding in findings:
        interval, unit = finding["interval"], finding["detectable"] or math.inf
        sign = finding["measure"]["better"]
        ends = [
            sign * (found if (found := interval[end]) is not None else way * math.inf) / unit
            for end, way in (("low", -1), ("high", 1))
        ]
        lines.append(
            Line(
                finding["measure"]["name"].replace("_", " "),
                sign * interval["mean"] / unit,
                min(ends),
                max(ends),
                css(finding),
                f"{finding['measure']['help']}: {interval['mean']:+.4g}, {called(finding)}",
            )
        )
    label = "B against A, in units of the smallest detectable difference; right is better"
    return forest(lines, label)


def _groups(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Draws groups of pictures, those whose loss differs most first; right is better for B."""
    lines = []
    for row in sorted(rows, key=lambda row: -abs(_percent(row, row["b"])))[:DRAWN]:
        # A lower loss is better, so the sign is changed: better is to the right.
        ends = [
            math.inf if row["low"] is None else -_percent(row, row["a"] + row["low"]),
            -math.inf if row["high"] is None else -_percent(row, row["a"] + row["high"]),
        ]
        mean = -_percent(row, row["b"])
        title = f"{row['name']}: {counted(row['pictures'], 'picture')}, loss {-mean:+.2f} %"
        lines.append(Line(row["name"], mean, min(ends), max(ends), "described", title))
    return forest(lines, "fall of the loss, B against A, in percent; right is better", LEAST)


def _percent(row: Mapping[str, Any], value: float) -> float:
    """Returns the difference of a loss from A's, in percent of A's."""
    return 100 * (value - row["a"]) / abs(row["a"]) if row["a"] else 0.0


def _bins(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Draws the difference of the loss over the share of noise (sigma)."""
    count = len(rows)
    points = [((n + 0.5) / count, row["b"] - row["a"]) for n, row in enumerate(rows)]
    return line_chart(
        [
            Series("no difference", [(0, 0), (1, 0)], "line-faint"),
            Series(
                "B minus A, with 95 % intervals",
                points,
                "line-b",
                marks=True,
                spans=[(_finite(row["low"], row), _finite(row["high"], row)) for row in rows],
            ),
        ],
        "share of noise (sigma)",
        "loss",
    )


def _finite(end: float | None, row: Mapping[str, Any]) -> float:
    """Returns an interval's end, or the difference itself if the interval is unbounded."""
    return float(row["b"] - row["a"]) if end is None else end


def _curve(curve: Mapping[str, Any], label: str) -> Any:
    """Draws means over seeds, in a band from the smallest to the largest; None if not finite."""
    series = []
    for arm, (name, css) in ARMS.items():
        mean, low, high = (
            [math.nan if value is None else value for value in curve[kind][arm]]
            for kind in ("mean", "low", "high")
        )
        points = list(zip(curve["tokens"], mean, strict=True))
        spans = list(zip(low, high, strict=True))
        series.append(
            Series(f"{name}, least to greatest seed", points, css, spans=spans, band=True)
        )
    return line_chart(series, "image tokens", label)

"""The page of a verdict: the sentence first, then where two sets differ, and what it can't tell."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from nucleus_data.pages import charts
from nucleus_data.pages.forest import Line, forest
from nucleus_data.pages.pictures import Picture, data_uri
from nucleus_data.pages.report import environment, versions

ARMS = {"a": ("A", "line-a"), "b": ("B", "line-b")}
CURVES = {"loss": "loss of the steps", "grad_norm": "norm of the gradient"}
DIRECTIONS = {1: "better", -1: "worse", 0: "equal"}


def render_verdict(
    content: Mapping[str, Any],
    pictures: Mapping[str, Picture],
    grids: Sequence[tuple[int, Mapping[str, bytes]]] = (),
    made_at: datetime | None = None,
) -> str:
    """The page.

    Args:
        content: A comparison's `verdict.json`.
        pictures: Thumbnails of reference pictures, by id; those that are missing are left out.
        grids: Of some seeds: `a` and `b` -> the PNG of samples, a row a prompt.
        made_at: The time that the page names; now, by default.
    """
    values: dict[str, Any] = {
        **content,
        "made_at": (made_at or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M %Z").strip(),
        "versions": versions({}),
        "directions": DIRECTIONS,
        "forest": _forest(content["findings"]),
        "bins_chart": _bins(content["bins"]),
        "curve_charts": [
            (label, _curve(content["curves"][name], label))
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
        "pictures": pictures,
        "grids": [
            (seed, {arm: data_uri("image/png", png) for arm, png in of.items()})
            for seed, of in grids
        ],
    }
    return environment().get_template("verdict.html.j2").render(values)


def _forest(findings: Sequence[Mapping[str, Any]]) -> Any:
    """The six measures, each in units of what this comparison could see; right is better for B."""
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
                DIRECTIONS[finding["direction"]],
                f"{finding['measure']['help']}: {interval['mean']:+.4g}",
            )
        )
    return forest(lines, "B against A, in smallest differences that it could see; right is better")


def _bins(rows: Sequence[Mapping[str, Any]]) -> Any:
    """The difference of the loss over the share of noise."""
    count = len(rows)
    points = [((n + 0.5) / count, row["b"] - row["a"]) for n, row in enumerate(rows)]
    return charts.line_chart(
        [
            charts.Series("no difference", [(0, 0), (1, 0)], "line-faint"),
            charts.Series(
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
    """An interval's end; where nothing bounds it, the difference itself."""
    return float(row["b"] - row["a"]) if end is None else end


def _curve(curve: Mapping[str, Any], label: str) -> Any:
    """Means over seeds, with the smallest and the largest."""
    series = []
    for arm, (name, css) in ARMS.items():
        points = list(zip(curve["tokens"], curve["mean"][arm], strict=True))
        spans = list(zip(curve["low"][arm], curve["high"][arm], strict=True))
        series.append(charts.Series(f"{name}, least to greatest seed", points, css, spans=spans))
    return charts.line_chart(series, "image tokens", label)

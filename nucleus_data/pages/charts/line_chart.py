"""Line charts over common axes, as SVG: curves of losses, calibrations, sweeps."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from markupsafe import Markup

from nucleus_data.pages.charts.axis import padded_range, short, ticks


@dataclass(frozen=True)
class Series:
    """A line.

    Attributes:
        label: Its name, for the legend.
        points: Its points (x, y), with x ascending.
        css: The CSS class that colours it.
        marks: Whether its points are marked.
        spans: For each point the interval of its value, drawn as a vertical bar.
        band: Whether intervals are drawn as one shaded band instead.
    """

    label: str
    points: Sequence[tuple[float, float]]
    css: str
    marks: bool = False
    spans: Sequence[tuple[float, float]] = ()
    band: bool = False


def thin(points: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """Thins points to at most `most`, by means over equal runs of adjacent points."""
    if len(points) <= most:
        return list(points)
    edges = [round(i * len(points) / most) for i in range(most + 1)]
    runs = [points[a:b] for a, b in pairwise(edges)]
    return [(sum(x for x, _ in run) / len(run), sum(y for _, y in run) / len(run)) for run in runs]


def line_chart(
    series: Sequence[Series], x_label: str, y_label: str, width: int = 720, height: int = 300
) -> Markup:
    """Draws lines over common axes, with ticks and a legend, without points that aren't finite.

    Args:
        series: At least one line; lines without points are not drawn.
        x_label: What the horizontal axis shows.
        y_label: What the vertical axis shows.
        width: Width of the drawing, in CSS pixels at full size.
        height: Height of the drawing, in CSS pixels at full size.
    """
    lines = [finite for s in series if (finite := _finite(s)).points]
    left, right, top, bottom = 52.0, width - 14.0, 30.0, height - 38.0
    x_low, x_high = padded_range([x for s in lines for x, _ in s.points], 0.0)
    heights = [y for s in lines for _, y in s.points]
    y_low, y_high = padded_range(
        [*heights, *(y for s in lines for span in s.spans for y in span)], 0.06
    )

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            left + (x - x_low) / (x_high - x_low) * (right - left),
            bottom - (y - y_low) / (y_high - y_low) * (bottom - top),
        )

    parts = [
        Markup('<text class="label" x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>').format(
            (left + right) / 2, height - 5, x_label
        ),
        Markup('<text class="label" x="{:.1f}" y="16">{}</text>').format(4, y_label),
    ]
    for tick in ticks(y_low, y_high):
        y = at(x_low, tick)[1]
        parts.append(
            Markup(
                '<line class="grid" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>'
                '<text x="{:.1f}" y="{:.1f}" text-anchor="end">{}</text>'
            ).format(left, right, y, y, left - 8, y + 4, short(tick))
        )
    for tick in ticks(x_low, x_high, 7):
        x = at(tick, y_low)[0]
        parts.append(
            Markup(
                '<line class="axis" x1="{0:.1f}" x2="{0:.1f}" y1="{1:.1f}" y2="{2:.1f}"/>'
                '<text x="{0:.1f}" y="{3:.1f}" text-anchor="middle">{4}</text>'
            ).format(x, bottom, bottom + 4, bottom + 17, short(tick))
        )
    parts.append(
        Markup('<path class="axis" d="M{0:.1f} {1:.1f}H{2:.1f}"/>').format(left, bottom, right)
    )
    # The width of text is only known once it is rendered; 7 to 8 pixels a letter are assumed.
    legend_x = 18 + 8.0 * len(y_label)
    for line in lines:
        parts += _drawn(line, at)
        parts.append(
            Markup(
                '<path class="line key {}" d="M{:.1f} 12h18"/><text x="{:.1f}" y="16">{}</text>'
            ).format(line.css, legend_x, legend_x + 24, line.label)
        )
        legend_x += 7.2 * len(line.label) + 40
    return Markup(
        '<svg class="chart" viewBox="0 0 {0} {1}" role="img" aria-label="{2}">{3}</svg>'
    ).format(width, height, f"{y_label} over {x_label}", Markup("").join(parts))


def _finite(series: Series) -> Series:
    """Returns a line with only the points that are finite, and their spans."""
    spans = series.spans or [(y, y) for _, y in series.points]
    kept = [
        (point, span)
        for point, span in zip(series.points, spans, strict=True)
        if all(map(math.isfinite, (*point, *span)))
    ]
    return replace(
        series,
        points=[point for point, _ in kept],
        spans=[span for _, span in kept] if series.spans else (),
    )


def _drawn(line: Series, at: Callable[[float, float], tuple[float, float]]) -> list[Markup]:
    """Draws a line with its band or error bars and its marks; `at` converts values to pixels."""
    path = " ".join("{:.1f} {:.1f}".format(*at(x, y)) for x, y in line.points)
    parts = [Markup('<path class="line {}" d="M{}"/>').format(line.css, path)]
    if line.band and line.spans:
        parts.append(_band(line, at))
    for (x, _), span in zip(line.points, () if line.band else line.spans, strict=False):
        (across, low), (_, high) = (at(x, y) for y in span)
        parts.append(
            Markup(
                '<path class="line key {0}" d="M{1:.1f} {2:.1f}V{3:.1f}'
                'M{4:.1f} {2:.1f}h8M{4:.1f} {3:.1f}h8"/>'
            ).format(line.css, across, low, high, across - 4)
        )
    if line.marks or len(line.points) == 1:  # a path of one point draws nothing
        parts += [
            Markup('<circle class="mark {}" cx="{:.1f}" cy="{:.1f}" r="3.5"/>').format(
                line.css, *at(x, y)
            )
            for x, y in line.points
        ]
    return parts


def _band(line: Series, at: Callable[[float, float], tuple[float, float]]) -> Markup:
    """Draws the area between the ends of a line's spans."""
    upper = [at(x, high) for (x, _), (_, high) in zip(line.points, line.spans, strict=True)]
    lower = [at(x, low) for (x, _), (low, _) in zip(line.points, line.spans, strict=True)]
    path = " ".join("{:.1f} {:.1f}".format(*point) for point in [*upper, *reversed(lower)])
    return Markup('<path class="band {}" d="M{}Z"/>').format(line.css, path)

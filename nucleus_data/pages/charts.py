"""Small SVG charts as pure functions: data in, markup out, every text escaped.

Colours are CSS classes (`fill-kept`, `line-a`, …) that the page's style sheet defines for light and
dark, so that a chart needs no script and no colour of its own.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from markupsafe import Markup

BAR_WIDTH = 1000.0
HAIR = 3.0


@dataclass(frozen=True)
class Segment:
    """A part of a stacked bar: its name, its size, and the CSS class that colours it."""

    label: str
    value: float
    css: str


@dataclass(frozen=True)
class Series:
    """A line.

    Attributes:
        label: Its name.
        points: x ascending.
        css: The class that colours it.
        marks: Whether its points are marked.
        spans: Of each point, from where to where its value may be; drawn as upright bars.
        band: Whether spans are drawn as one shaded band instead.
    """

    label: str
    points: Sequence[tuple[float, float]]
    css: str
    marks: bool = False
    spans: Sequence[tuple[float, float]] = ()
    band: bool = False


def short(value: float) -> str:
    """A number as an axis shows it: `0.25`, `1.5`, `12k`, `3M`, `2e-5`."""
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (1e3 if suffix == 'k' else limit):.3g}{suffix}"
    if value and abs(value) < 1e-4:
        return re.sub("e-0*", "e-", f"{value:.2g}")
    return f"{value:.4g}" if abs(value) >= 1 else f"{value:.3g}"


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers (1, 2 or 5 times a power of ten) from `low` to `high`."""
    span = high - low
    if span <= 0 or not math.isfinite(span):
        return [low]
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [float(f"{i * step:.10g}") for i in range(first, last + 1)]


def stacked_bar(segments: Sequence[Segment], label: str) -> Markup:
    """One horizontal bar, full width; what is not zero stays visible as a hair."""
    shown = [s for s in segments if s.value > 0]
    total = sum(s.value for s in shown)
    widths = [max(HAIR, s.value / total * BAR_WIDTH) for s in shown]
    # The hairs make the bar too long; all parts give way in proportion.
    scale = BAR_WIDTH / sum(widths) if widths else 1.0
    parts, x = [], 0.0
    for segment, width in zip(shown, widths, strict=True):
        parts.append(
            Markup(
                '<rect class="{}" x="{:.2f}" y="0" width="{:.2f}" height="10">'
                "<title>{}: {} ({:.1f} %)</title></rect>"
            ).format(
                segment.css,
                x,
                width * scale,
                segment.label,
                f"{segment.value:,.6g}",
                100 * segment.value / total,
            )
        )
        x += width * scale
    return Markup(
        '<svg class="stacked" viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" '
        'aria-label="{}">{}</svg>'
    ).format(label, Markup("").join(parts))


def bar(value: float, largest: float, css: str) -> Markup:
    """A plain bar, as long as `value` is of `largest`; nothing at all for zero."""
    width = 0.0 if value <= 0 or largest <= 0 else max(HAIR, value / largest * BAR_WIDTH)
    return Markup(
        '<svg class="bar" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="{}" width="{:.2f}" height="10"/></svg>'
    ).format(css, width)


def columns(stacks: Sequence[tuple[str, Sequence[Segment]]], label: str) -> Markup:
    """Columns side by side, each of parts from the bottom up, with its name and its sum.

    Args:
        stacks: Name -> parts of each column.
        label: What is drawn, for readers who don't see it.
    """
    width, base, top = 720.0, 190.0, 20.0
    sums = [sum(part.value for part in parts) for _, parts in stacks]
    scale = (base - top) / max([*sums, 1e-9])
    step = width / max(len(stacks), 1)
    drawn = []
    for i, ((name, parts), total) in enumerate(zip(stacks, sums, strict=True)):
        x, y = (i + 0.1) * step, base
        for part in parts:
            height = part.value * scale
            y -= height
            drawn.append(
                Markup(
                    '<rect class="{}" x="{:.1f}" y="{:.2f}" width="{:.1f}" height="{:.2f}">'
                    "<title>{} {}: {}</title></rect>"
                ).format(part.css, x, y, 0.8 * step, height, name, part.label, short(part.value))
            )
        drawn += [
            Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>').format(
                css, x + 0.4 * step, place, text
            )
            for place, text, css in ((base + 16, name, "label"), (y - 5, short(total), ""))
        ]
    return Markup(
        '<svg class="chart" viewBox="0 0 720 212" role="img" aria-label="{}">{}'
        '<path class="axis" d="M0 190H720"/></svg>'
    ).format(label, Markup("").join(drawn))


def aspect_shape(width: float, height: float) -> Markup:
    """A rectangle of these proportions in a square of 20 pixels."""
    scale = 18 / max(width, height, 1)
    w, h = max(1.0, width * scale), max(1.0, height * scale)
    return Markup(
        '<svg class="shape" viewBox="0 0 20 20" width="20" height="20" aria-hidden="true">'
        '<rect x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}" rx="1.5"/></svg>'
    ).format(10 - w / 2, 10 - h / 2, w, h)


def thin(points: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """At most `most` points: means over equal runs of neighbours."""
    if len(points) <= most:
        return list(points)
    edges = [round(i * len(points) / most) for i in range(most + 1)]
    runs = [points[a:b] for a, b in pairwise(edges)]
    return [(sum(x for x, _ in run) / len(run), sum(y for _, y in run) / len(run)) for run in runs]


def line_chart(
    series: Sequence[Series], x_label: str, y_label: str, width: int = 720, height: int = 300
) -> Markup:
    """Lines over common axes, with ticks and a legend. Points that are not finite are left out.

    Args:
        series: At least one line; those without points are not drawn.
        x_label: What the horizontal axis shows.
        y_label: What the vertical axis shows.
        width: Width of the drawing, in CSS pixels at full size.
        height: Height of the drawing, in CSS pixels at full size.
    """
    lines = [finite for s in series if (finite := _finite(s)).points]
    left, right, top, bottom = 52.0, width - 14.0, 30.0, height - 38.0
    x_low, x_high = _range([x for s in lines for x, _ in s.points], 0.0)
    heights = [y for s in lines for _, y in s.points]
    y_low, y_high = _range([*heights, *(y for s in lines for span in s.spans for y in span)], 0.06)

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
    legend_x = 18 + 8.0 * len(y_label)
    for line in lines:
        path = " ".join("{:.1f} {:.1f}".format(*at(x, y)) for x, y in line.points)
        parts.append(Markup('<path class="line {}" d="M{}"/>').format(line.css, path))
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
        if line.marks or len(line.points) == 1:
            parts += [
                Markup('<circle class="mark {}" cx="{:.1f}" cy="{:.1f}" r="3.5"/>').format(
                    line.css, *at(x, y)
                )
                for x, y in line.points
            ]
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
    """The points that are finite, with their spans."""
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


def _band(line: Series, at: Callable[[float, float], tuple[float, float]]) -> Markup:
    """The area between the ends of a line's spans."""
    there = [at(x, high) for (x, _), (_, high) in zip(line.points, line.spans, strict=True)]
    back = [at(x, low) for (x, _), (low, _) in zip(line.points, line.spans, strict=True)]
    path = " ".join("{:.1f} {:.1f}".format(*point) for point in [*there, *reversed(back)])
    return Markup('<path class="band {}" d="M{}Z"/>').format(line.css, path)


def histogram(
    every: Sequence[int], kept: Sequence[int], low: float, high: float, *, logarithmic: bool
) -> Markup:
    """Counts of all values as an area, with those of kept records drawn over it.

    Args:
        every: A count for each bin, the bins equally wide (in the logarithm, if `logarithmic`).
        kept: A count for each of the same bins, of kept records alone.
        low: Where the first bin begins, in the signal's unit.
        high: Where the last bin ends.
        logarithmic: Whether the axis is; the first bin then also holds what is below it (zeros).
    """
    width, base, top = 240.0, 92.0, 6.0
    largest = max([*every, 1])
    step = width / max(len(every), 1)

    def area(counts: Sequence[int]) -> str:
        heights = [base - count / largest * (base - top) for count in counts]
        steps = "".join(f"V{y:.1f}h{step:.2f}" for y in heights)
        return f"M0 {base:.1f}{steps}V{base:.1f}Z"

    middle = math.sqrt(low * high) if logarithmic and low > 0 else (low + high) / 2
    return Markup(
        '<svg class="histogram" viewBox="0 0 240 110" role="img" aria-label="{}">'
        '<path class="fill-all" d="{}"/><path class="fill-kept" d="{}"/>'
        '<path class="axis" d="M0 92H240"/><text x="0" y="106">{}</text>'
        '<text x="120" y="106" text-anchor="middle">{}</text>'
        '<text x="240" y="106" text-anchor="end">{}</text></svg>'
    ).format(
        f"{sum(kept)} of {sum(every)} values are of kept records",
        area(every),
        area(kept),
        f"≤{short(low)}" if logarithmic else short(low),
        short(middle),
        short(high),
    )


def _range(values: Sequence[float], margin: float) -> tuple[float, float]:
    """Least and greatest value, widened by a share of the span; never empty."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if low == high:
        low, high = low - 0.5, high + 0.5
    pad = (high - low) * margin
    return low - pad, high + pad

"""Bars, stacked columns, histograms, and the shape of an aspect bucket, as SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from nucleus_data.pages.charts.axis import short

BAR_WIDTH = 1000.0
HAIR = 3.0  # least width of a part that is not zero


@dataclass(frozen=True)
class Segment:
    """A part of a stacked bar: its name, its size, and the CSS class that colours it."""

    label: str
    value: float
    css: str


def stacked_bar(segments: Sequence[Segment], label: str) -> Markup:
    """Draws one horizontal bar of full width; small parts that are not zero stay visible."""
    shown = [s for s in segments if s.value > 0]
    total = sum(s.value for s in shown)
    widths = [max(HAIR, s.value / total * BAR_WIDTH) for s in shown]
    # Widening small parts makes the bar too long, so all parts are scaled down.
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
    """Draws a bar whose length is the ratio of `value` to `largest`; empty for zero."""
    width = 0.0 if value <= 0 or largest <= 0 else max(HAIR, value / largest * BAR_WIDTH)
    return Markup(
        '<svg class="bar" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="{}" width="{:.2f}" height="10"/></svg>'
    ).format(css, width)


def columns(stacks: Sequence[tuple[str, Sequence[Segment]]], label: str) -> Markup:
    """Draws stacked columns, with their parts from the bottom up, their names and their sums.

    Args:
        stacks: Name and parts of each column.
        label: Description of the chart, for screen readers.
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


def histogram(
    every: Sequence[int], kept: Sequence[int], low: float, high: float, *, logarithmic: bool
) -> Markup:
    """Draws a histogram of all values as an area, with that of kept records over it.

    Args:
        every: Count of each bin; bins are equally wide (in the logarithm, if `logarithmic`).
        kept: Count of each bin, of kept records only.
        low: Start of the first bin, in the signal's unit.
        high: End of the last bin.
        logarithmic: Whether the axis is logarithmic; the first bin then includes all smaller values
            (zeros).
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


def aspect_shape(width: float, height: float) -> Markup:
    """Draws a rectangle of the given proportions in a square of 20 pixels."""
    scale = 18 / max(width, height, 1)
    w, h = max(1.0, width * scale), max(1.0, height * scale)
    return Markup(
        '<svg class="shape" viewBox="0 0 20 20" width="20" height="20" aria-hidden="true">'
        '<rect x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}" rx="1.5"/></svg>'
    ).format(10 - w / 2, 10 - h / 2, w, h)

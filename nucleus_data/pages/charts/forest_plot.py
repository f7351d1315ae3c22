"""A forest plot: differences with their intervals, one per line, over a common axis, as SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from nucleus_data.pages.charts.axis import short, ticks

WIDTH, LEFT, RIGHT, STEP = 720.0, 190.0, 700.0, 34.0
LONGEST = 26  # characters of a label that fit beside the axis


@dataclass(frozen=True)
class Line:
    """A difference.

    Attributes:
        label: What differs.
        mean: The estimate.
        low, high: Ends of its interval; infinite ones reach the edge.
        css: `better`, `worse`, `equal`, or `described` if it was not tested.
        title: The tooltip.
    """

    label: str
    mean: float
    low: float
    high: float
    css: str
    title: str


def forest(lines: Sequence[Line], x_label: str, within: float = 1.0) -> Markup:
    """Draws the plot, with a vertical line at 0 in the middle.

    Args:
        lines: The differences, from top to bottom.
        x_label: What the axis shows.
        within: The axis reaches at least this far to both sides.
    """
    ends = [abs(v) for line in lines for v in (line.mean, line.low, line.high) if math.isfinite(v)]
    reach = max([within, *ends]) * 1.06
    bottom = 16 + STEP * len(lines)

    def at(value: float) -> float:
        inside = min(max(value, -reach), reach)
        return LEFT + (inside + reach) / (2 * reach) * (RIGHT - LEFT)

    parts = [
        Markup('<text class="label" x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>').format(
            (LEFT + RIGHT) / 2, bottom + 38, x_label
        )
    ]
    parts += [
        Markup(
            '<line class="{0}" x1="{1:.1f}" x2="{1:.1f}" y1="8" y2="{2:.1f}"/>'
            '<text x="{1:.1f}" y="{3:.1f}" text-anchor="middle">{4}</text>'
        ).format("axis" if tick == 0 else "grid", at(tick), bottom, bottom + 18, short(tick))
        for tick in ticks(-reach, reach, 6)
    ]
    for number, line in enumerate(lines):
        y = 16 + STEP * (number + 0.5)
        parts.append(
            Markup(
                '<g class="forest {css}"><title>{title}</title>'
                '<text class="label" x="0" y="{text:.1f}">{label}</text>'
                '<path class="line" d="M{low:.1f} {y:.1f}H{high:.1f}"/>'
                '<circle class="mark" cx="{mean:.1f}" cy="{y:.1f}" r="5"/></g>'
            ).format(
                css=line.css,
                title=line.title,
                label=_cut(line.label),
                text=y + 4,
                y=y,
                low=at(line.low),
                high=at(line.high),
                mean=at(line.mean),
            )
        )
    return Markup(
        '<svg class="chart" viewBox="0 0 {:.0f} {:.0f}" role="img" aria-label="{}">{}</svg>'
    ).format(WIDTH, bottom + 46, x_label, Markup("").join(parts))


def _cut(label: str) -> str:
    """Shortens a label so that it fits; the tooltip has all of it."""
    if len(label) <= LONGEST:
        return label
    # The end is kept, because it distinguishes addresses and paths.
    half = LONGEST // 2
    return f"{label[: LONGEST - half - 1]}…{label[-half:]}"

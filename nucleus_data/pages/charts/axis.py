"""Axes of charts: their range, round numbers along them, and the formatting of numbers."""

import math
import re
from collections.abc import Sequence


def short(value: float) -> str:
    """Formats a number for an axis: `0.25`, `1.5`, `12k`, `3M`, `2e-5`."""
    # From where three digits of a unit would be "1e+03", the next unit begins.
    for least, unit, suffix in ((999.5e6, 1e9, "G"), (999.5e3, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= least:
            return f"{value / unit:.3g}{suffix}"
    if value and abs(value) < 1e-4:
        return re.sub("e-0*", "e-", f"{value:.2g}")
    return f"{value:.4g}" if abs(value) >= 1 else f"{value:.3g}"


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Returns about `count` multiples of a round step (1, 2 or 5 * 10^n) from `low` to `high`."""
    span = high - low
    if span <= 0 or not math.isfinite(span):
        return [low]
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [float(f"{i * step:.10g}") for i in range(first, last + 1)]


def padded_range(values: Sequence[float], margin: float) -> tuple[float, float]:
    """Returns the smallest and the largest value, widened by a share of the span; never empty."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if low == high:
        low, high = low - 0.5, high + 0.5
    pad = (high - low) * margin
    return low - pad, high + pad

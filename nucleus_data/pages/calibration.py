"""The page of a calibration: reliability of calibrated scores, and distributions of raw scores."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from nucleus_data.corpus import Corpus
from nucleus_data.pages.charts.bars import Segment, stacked_bar
from nucleus_data.pages.charts.line_chart import Series, line_chart
from nucleus_data.pages.report import environment, versions

BINS = 40
# Route of a caption -> its CSS class and its description.
ROUTES = {
    "preserve": ("fill-kept", "above {high:.2f}: kept as it is, and variants are added"),
    "refine": ("fill-pending", "{low:.2f} to {high:.2f}: refined from the picture and the caption"),
    "synthesize": ("fill-duplicate", "below {low:.2f}: made anew from the picture alone"),
}


def write_calibration_page(
    corpus: Corpus,
    name: str,
    run: str,
    calibration: Any,
    held_out: Any,
    thresholds: Sequence[float],
    made_at: datetime | None = None,
) -> str:
    """Writes the page and returns its path or URL.

    Args:
        corpus: The corpus.
        name: Path of the page below the corpus.
        run: Name of the run, for the heading.
        calibration: An `engines.calibration.Calibration` with its figures.
        held_out: The raw scores that it was checked on, an `engines.agreement.Pairs`.
        thresholds: The published thresholds: below the first, a caption is made anew; above the
            second, it is preserved.
        made_at: The time that is shown on the page; by default now.
    """
    fitted = calibration.fitted
    low, high = thresholds
    routed, total = fitted["routed"], max(sum(fitted["routed"].values()), 1)
    values: dict[str, Any] = {
        "corpus": corpus.uri,
        "run": run,
        "made_at": (made_at or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M %Z").strip(),
        "versions": versions({}),
        "calibration": calibration,
        "found": fitted,
        "knots": len(calibration.scores),
        "reliability": _reliability(fitted["deciles"]),
        "spread": _spread(calibration, held_out, thresholds),
        "map": _map(calibration, held_out, thresholds),
        "routes": [
            (route, css, text.format(low=low, high=high), routed[route], routed[route] / total)
            for route, (css, text) in ROUTES.items()
        ],
        "routed": stacked_bar(
            [Segment(r, routed[r], css) for r, (css, _) in ROUTES.items()],
            "Where own captions go",
        ),
    }
    page = environment().get_template("calibration.html.j2").render(values)
    corpus.store.put(name, page.encode("utf-8", "replace"))
    return corpus.store.url(name)


def _reliability(deciles: Sequence[dict[str, float]]) -> Any:
    """Draws the observed shares of matched pairs, with intervals, over the calibrated scores."""
    series = [
        Series("as it should be", [(0, 0), (1, 1)], "line-faint"),
        Series(
            "deciles of the held-out pairs, with 95 % intervals",
            [(d["said"], d["observed"]) for d in deciles],
            "line-a",
            marks=True,
            spans=[(d["low"], d["high"]) for d in deciles],
        ),
    ]
    return line_chart(series, "what the calibrated score says", "share matched", height=380)


def _spread(calibration: Any, held_out: Any, thresholds: Sequence[float]) -> Any:
    """Draws the distributions of raw scores of matched and mismatched pairs."""
    low, high = _shown(held_out)
    series, tops = [], [0.0]
    for label, scores, css in (
        ("matched", held_out.matched, "line-a"),
        ("mismatched", held_out.mismatched, "line-b"),
    ):
        counts, edges = np.histogram(scores, BINS, (low, high))
        shares = 100 * counts / len(scores)
        tops.append(float(shares.max()))
        middles = (edges[:-1] + edges[1:]) / 2
        points = list(zip(middles.tolist(), shares.tolist(), strict=True))
        series.append(Series(label, points, css))
    return line_chart(
        [*series, *_cuts(calibration, thresholds, (low, high), (0.0, max(tops)))],
        "raw cosine",
        "% of pairs",
    )


def _map(calibration: Any, held_out: Any, thresholds: Sequence[float]) -> Any:
    """Draws the map from raw to calibrated scores, over the range of the held-out scores."""
    low, high = _shown(held_out)
    inside = [score for score in calibration.scores if low < score < high]
    scores = np.array([low, *inside, high])
    points = list(zip(scores.tolist(), calibration.apply(scores).tolist(), strict=True))
    return line_chart(
        [
            Series("the map", points, "line-a"),
            *_cuts(calibration, thresholds, (low, high), (0.0, 1.0)),
        ],
        "raw cosine",
        "calibrated score",
    )


def _cuts(
    calibration: Any,
    thresholds: Sequence[float],
    within: tuple[float, float],
    heights: tuple[float, float],
) -> list[Series]:
    """Returns vertical lines at the thresholds."""
    cuts = [(threshold, calibration.raw(threshold)) for threshold in thresholds]
    return [
        Series(f"{threshold:.2f} at {raw:.3f}", [(raw, y) for y in heights], "line-faint")
        for threshold, raw in cuts
        if within[0] <= raw <= within[1]
    ]


def _shown(held_out: Any) -> tuple[float, float]:
    """Returns the smallest and the largest raw score."""
    both = np.concatenate([held_out.matched, held_out.mismatched])
    return float(both.min()), float(both.max())

"""`nucleus calibrate`: maps raw cosines of picture and caption to the probability of a match.

The map is fitted to labelled or shuffled pairs of one half of the records, and evaluated on the
other half.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nucleus_data.engines.agreement import Pairs, area_under_curve, brier, cuts, deciles
from nucleus_data.engines.calibration import (
    FEWEST,
    Calibration,
    fit_calibration,
    save_calibration,
)
from nucleus_data.errors import RequestError
from nucleus_data.pages.calibration import write_calibration_page
from nucleus_data.printed import counted
from nucleus_data.runner.run import Run
from nucleus_data.stage import RowStage
from nucleus_data.stages.dedup.stage import Dedup
from nucleus_data.views.caption_pairs import LabelledPairs, labelled_pairs, shuffled_pairs
from nucleus_data.views.copies import pairs_found
from nucleus_data.views.stored_vectors import stored_model

# Probabilities below which a caption is replaced, and above which it is kept.
THRESHOLDS = (0.30, 0.65)
TARGET_ERROR = 0.05  # largest acceptable calibration error of a decile


def calibrate(
    run: Run,
    embed: RowStage[Any],
    dedup: Dedup,
    *,
    name: str,
    labels: Path | None,
    prior: float,
    most: int,
    seed: int,
    out: Path,
) -> Iterator[str]:
    """Fits a calibration, and writes it with a page about it.

    Args:
        run: The run.
        embed: The stage whose embeddings are read.
        dedup: The stage whose pairs of copies are not used as mismatches.
        name: The model: `main`, or a name in `embed.models`.
        labels: A table of labelled pairs; None to shuffle pairs.
        prior: Assumed share of matched pairs, 0 to 1.
        most: Maximum number of records.
        seed: Seed of the choice of records and of the halves.
        out: The file to write.

    Yields:
        Lines for people.

    Raises:
        RequestError: The embeddings or the labels do not exist, there are too few pairs, or the
            file can't be written.
    """
    model = stored_model(run, embed, name)
    copies = pairs_found(run, dedup, "calibrate")
    if labels is None:
        pairs = shuffled_pairs(run, model, copies, most, seed)
    else:
        pairs = labelled_pairs(run, model, copies, labels, seed)
        yield str(pairs.about["labels"])
    fit, held_out = (pairs.part(held, prior) for held in (False, True))
    counts = {"fit": _sizes(fit), "held_out": _sizes(held_out)}
    about = {**pairs.about, "seed": seed, "prior": prior, **counts}
    yield from _counted(about)
    if min(min(count.values()) for count in counts.values()) < FEWEST:
        raise RequestError(
            f"too few pairs: {counts}; at least {FEWEST} of each kind are needed in each half, and "
            "some thousands to detect an error of 0.05"
        )
    fitted = fit_calibration(
        fit.matched, fit.mismatched, model=model.model, revision=model.revision, prior=prior
    )
    figures = _figures(fitted, held_out) | {"routed": _routed(fitted, pairs)}
    made = Calibration(
        fitted.model, fitted.revision, fitted.scores, fitted.values, {**about, **figures}
    )
    try:
        save_calibration(made, out)
    except OSError as error:
        raise RequestError(f"--out {out} can't be written: {error}") from error
    content = made.content() | {"fitted": made.fitted}
    run.corpus.store.put(run.path("calibration.json"), json.dumps(content).encode())
    yield from _lines(made)
    yield f"{out}; use it with score.calibration.{name}={out}"
    yield write_calibration_page(
        run.corpus, run.path("calibration.html"), run.name, made, held_out, THRESHOLDS
    )


def _sizes(pairs: Pairs) -> dict[str, int]:
    return {"matched": len(pairs.matched), "mismatched": len(pairs.mismatched)}


def _figures(fitted: Calibration, raw: Pairs) -> dict[str, Any]:
    """Evaluates the calibration on held-out pairs: AUC, Brier score, error by decile, cuts."""
    calibrated = Pairs(fitted.apply(raw.matched), fitted.apply(raw.mismatched), raw.prior)
    groups = deciles(calibrated)
    return _rounded(
        {
            "auc_raw": area_under_curve(raw),
            "auc": area_under_curve(calibrated),
            "brier_raw": brier(raw),
            "brier": brier(calibrated),
            "largest_error": max(group.error for group in groups),
            "half_interval": max(group.high - group.low for group in groups) / 2,
            "deciles": [asdict(group) for group in groups],
            "cuts": [
                {**asdict(cut), "raw": fitted.raw(cut.threshold)}
                for cut in cuts(calibrated, THRESHOLDS)
            ],
        }
    )


def _routed(fitted: Calibration, pairs: LabelledPairs) -> dict[str, int]:
    """Counts the records whose own caption the thresholds would keep, refine or replace."""
    probability = fitted.apply(pairs.raw[pairs.own])
    low, high = THRESHOLDS
    return {
        "preserve": int((probability > high).sum()),
        "refine": int(((probability >= low) & (probability <= high)).sum()),
        "synthesize": int((probability < low).sum()),
    }


def _rounded(content: Any) -> Any:
    """Rounds all floats in JSON-able content to 6 decimals."""
    if isinstance(content, dict):
        return {name: _rounded(value) for name, value in content.items()}
    if isinstance(content, list):
        return [_rounded(value) for value in content]
    return round(content, 6) if isinstance(content, float) else content


def _counted(about: Mapping[str, Any]) -> Iterator[str]:
    """Yields lines about the number of pairs, and those left out."""
    fit, held = about["fit"], about["held_out"]
    yield (
        f"{counted(about['records'], 'record')}; fitted on {fit['matched']:,} matched and "
        f"{fit['mismatched']:,} mismatched pairs, checked on {held['matched']:,} and "
        f"{counted(held['mismatched'], 'pair')} of other records"
    )
    if about.get("without_vector"):
        yield f"  {about['without_vector']:,} more have no picture or caption vector"
    left_out = {why: count for why, count in about.get("left_out", {}).items() if count}
    if left_out:
        counts = ", ".join(f"{count:,} {why.replace('_', ' ')}" for why, count in left_out.items())
        yield f"  left out as mismatched: {counts}"


def _lines(made: Calibration) -> Iterator[str]:
    """Yields lines about the calibration's evaluation."""
    found = made.fitted
    yield (
        f"AUC {found['auc']:.3f} (raw {found['auc_raw']:.3f}), "
        f"Brier score {found['brier']:.3f} (raw {found['brier_raw']:.3f})"
    )
    yield (
        f"largest error of a decile: {found['largest_error']:.3f}; up to "
        f"{found['half_interval']:.3f} is expected by chance (95 %)"
    )
    if found["half_interval"] > TARGET_ERROR:
        yield f"too few pairs to tell an error of {TARGET_ERROR} from chance: label or embed more"
    routed = found["routed"]
    total = sum(routed.values())
    shares = ", ".join(f"{why} {100 * n / max(total, 1):.1f} %" for why, n in routed.items())
    low, high = THRESHOLDS
    yield f"thresholds {low:.2f} and {high:.2f} would, of {total:,} own captions: {shares}"
    for cut in found["cuts"]:
        yield (
            f"mismatched below {cut['threshold']:.2f} (raw {cut['raw']:.3f}): precision "
            f"{cut['precision']:.3f}, recall {cut['recall']:.3f}; best over all thresholds: "
            f"precision {cut['best_precision']:.3f} at this recall, recall "
            f"{cut['best_recall']:.3f} at this precision"
        )

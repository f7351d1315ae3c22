"""The report's sections, each a small dictionary for the template, from queries and charts."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from nucleus_data.corpus import Corpus, runs
from nucleus_data.corpus.states import DUPLICATE, FAILED, KEPT, PENDING, REJECTED, STATES
from nucleus_data.pages import content, queries, runfiles
from nucleus_data.pages.charts.bars import (
    Segment,
    aspect_shape,
    bar,
    columns,
    histogram,
    stacked_bar,
)
from nucleus_data.pages.charts.line_chart import Series, line_chart, thin
from nucleus_data.pages.signals import Signal
from nucleus_data.printed import counted

OVER_CAP = "over_cap"  # a reason in a training set's left_out, followed by the bucket's name
CHART_POINTS = 400
SMOOTHING_POINTS = 60
TRAINING_FACTS = {
    "parameters": "parameters",
    "steps": "steps",
    "epochs": "epochs",
    "images": "images seen",
    "train_samples": "samples to train on",
    "holdout_samples": "held out",
}
ZERO = "\N{EN DASH}"


def funnel_section(
    tables: queries.Tables, ledger: queries.Ledger, training: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Returns the states, their bar, the steps from all records to the kept ones, and the tiers."""
    states = _states(ledger)
    steps, left = [("records", ledger.records, "", 0)], ledger.records
    for state, name in (
        (FAILED, "readable"),
        (REJECTED, "passed every rule"),
        (DUPLICATE, "no better copy"),
        (PENDING, "decided"),
        ("undecided", "decided"),
    ):
        lost = dict(states).get(state, 0)
        if lost or state in (FAILED, REJECTED, DUPLICATE):
            left -= lost
            steps.append((name, left, state, lost))
    steps.append(("kept", ledger.states.get(KEPT, 0), "", 0))
    if training:
        steps.append(
            ("training samples", training["samples"], "left out", left - training["samples"])
        )
    return {
        "states": states,
        "bar": stacked_bar([Segment(s, n, f"fill-{s}") for s, n in states], "records by state"),
        "steps": [
            (name, count, state, lost, bar(count, ledger.records, "fill-kept"))
            for name, count, state, lost in steps
        ],
        "tiers": queries.tiers(tables),
    }


def curriculum_section(
    tables: queries.Tables, training: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """Returns the counts of curriculum buckets by tier, before caps, and what caps left out.

    None for a selection without buckets.
    """
    filling = content.filling(tables)
    if not filling:
        return None
    tiers = sorted({tier for _, parts in filling for tier, _ in parts})
    colours = {tier: f"fill-p{number % 8}" for number, tier in enumerate(tiers)}
    # Empty buckets have a column, too; premium buckets only if they have records.
    stacks = {f"B{number}": dict[str, int]() for number in range(1, 9)}
    stacks |= {bucket: dict(parts) for bucket, parts in filling}
    lost = {reason: count for reason, count, _ in (training or {}).get("left_out") or []}
    return {
        "chart": columns(
            [
                (bucket, [Segment(t, n, colours[t]) for t, n in sorted(parts.items())])
                for bucket, parts in stacks.items()
            ],
            "kept records by curriculum bucket and quality tier",
        ),
        "colours": colours,
        "buckets": [
            (bucket, sum(parts.values()), lost.get(f"{OVER_CAP}:{bucket}", 0))
            for bucket, parts in stacks.items()
        ],
        "again": sum(stacks.get("B10", {}).values()),
    }


def caption_section(tables: queries.Tables, limit: int) -> dict[str, Any]:
    """Returns the sums of each variant, and some kept records with all their captions."""
    variants = content.variants(tables)
    shown = content.captioned_examples(tables, limit)
    return {
        "variants": variants,
        "source": content.source_captions(tables),
        "examples": shown,
        "texts": content.captions(tables, shown),
        "nano": any("nano" in variant.models for variant in variants),
        "transformers": [
            v.name for v in variants if any(e.startswith("transformers") for e in v.engines)
        ],
    }


def training_section(
    corpus: Corpus, training_set: str | None, ledger: queries.Ledger
) -> dict[str, Any] | None:
    """Returns a training set's buckets, and what was left out; None if it is not published."""
    buckets = content.buckets(corpus, training_set) if training_set else None
    if training_set is None or buckets is None:
        return None
    largest = max((bucket.samples for bucket in buckets), default=0)
    left_out = content.left_out(corpus, training_set)
    samples = sum(bucket.samples for bucket in buckets)
    out = sum(count for _, count, _ in left_out or [])
    sides = content.sides(corpus, training_set)
    return {
        "buckets": [
            (b, bar(b.samples, largest, "fill-kept"), aspect_shape(b.width, b.height))
            for b in buckets
        ],
        "samples": samples,
        "tars": sum(bucket.tars for bucket in buckets),
        "size": sum(bucket.size for bucket in buckets),
        "left_out": left_out,
        "out": out,
        "sides": sides,
        "missing": sides * ledger.states.get(KEPT, 0) - samples - out,
    }


def work_section(corpus: Corpus, run: str) -> dict[str, Any]:
    """Returns the seconds by stage and phase, and the failed shards."""
    lines, cut = runs.read_lines(corpus.store, runs.path_of(run, runs.STAGES))
    failures, cut_failures = runs.read_lines(corpus.store, runs.path_of(run, runs.FAILURES))
    stages = runfiles.stage_times(lines)
    phases = sorted({phase for stage in stages for phase in stage.phases})
    colours = {phase: f"fill-p{number % 8}" for number, phase in enumerate(phases)}
    longest = max((stage.seconds for stage in stages), default=0.0)
    return {
        "stages": [
            (
                stage,
                bar(stage.seconds, longest, "fill-kept"),
                stacked_bar(
                    [Segment(p, s, colours[p]) for p, s in sorted(stage.phases.items())],
                    f"seconds of {stage.name} by phase",
                )
                if stage.phases
                else None,
            )
            for stage in stages
        ],
        "told": [str(text) for line in lines for text in line.get("told") or ()],
        "colours": colours,
        "seconds": sum(stage.seconds for stage in stages),
        "failures": failures[: runfiles.MOST_FAILURES],
        "failed": len(failures),
        "unreadable": cut + cut_failures,
    }


def figures(
    ledger: queries.Ledger,
    tables: queries.Tables,
    captions: Mapping[str, Any] | None,
    training: Mapping[str, Any] | None,
    learned: runfiles.QuickTrain | None,
) -> list[tuple[str, str, str]]:
    """Returns the headline figures, as (label, figure, note)."""
    kept = ledger.states.get(KEPT, 0)
    share = f"{100 * kept / ledger.records:.1f} % of the records" if ledger.records else ""
    variants: Sequence[content.Variant] = captions["variants"] if captions else []
    final = learned.final if learned else None
    return [
        ("records in", f"{ledger.records:,}", f"{ledger.with_image:,} with an image"),
        ("kept", f"{kept:,}", share)
        if "selection" in tables
        else ("kept", ZERO, "nothing is selected yet"),
        (
            "captions",
            f"{sum(v.captions for v in variants):,}",
            f"in {counted(len(variants), 'variant')}",
        )
        if variants
        else ("captions", ZERO, "none written yet"),
        (
            "training samples",
            f"{training['samples']:,}",
            f"in {counted(training['tars'], 'training shard')}",
        )
        if training
        else ("training samples", ZERO, "no training set yet"),
        ("final loss", f"{final[1]:.4g}", final[0])
        if final
        else ("final loss", ZERO, "quick-train has not run"),
    ]


def _states(ledger: queries.Ledger) -> list[tuple[str, int]]:
    """Returns the counts of states that occur, `kept` first and `undecided` last."""
    states = [(s, ledger.states[s]) for s in STATES if ledger.states.get(s)]
    states += [(s, n) for s, n in ledger.states.items() if s not in STATES]
    return states + ([("undecided", ledger.undecided)] if ledger.undecided else [])


def checks(ledger: queries.Ledger, training: Mapping[str, Any] | None) -> list[tuple[bool, str]]:
    """Checks the sums that must hold; returns for each whether it holds, and its numbers."""
    terms = [f"{count:,} {state}" for state, count in _states(ledger)]
    total = sum(ledger.states.values()) + ledger.undecided
    sign = "=" if total == ledger.records else "\N{NOT EQUAL TO}"
    checks = [
        (
            total == ledger.records,
            f"{counted(ledger.records, 'record')} {sign} {' + '.join(terms)}",
        ),
        (
            not ledger.doubled and not ledger.orphans,
            f"each record is in one state only: {ledger.doubled:,} decided twice, "
            f"{ledger.orphans:,} decisions without a record",
        ),
        (
            not ledger.without_survivor,
            f"each duplicate names a kept record: {ledger.without_survivor:,} do not",
        ),
    ]
    if training:
        kept, missing = ledger.states.get(KEPT, 0), training["missing"]
        text = f"{training['samples']:,} training samples + {training['out']:,} left out"
        if missing:
            text += f" + {missing:,} unaccounted for (made with --limit, or of another selection?)"
        each = f" at each of {training['sides']} resolutions" if training["sides"] > 1 else ""
        checks.append((missing == 0, f"{kept:,} kept{each} = {text}"))
    return checks


def loss_chart(learned: runfiles.QuickTrain | None) -> Markup | None:
    """Draws training and held-out losses; long runs are thinned, with coarser means over them."""
    if learned is None or not (learned.training or learned.held_out):
        return None
    series = [Series("training", thin(learned.training, CHART_POINTS), "line-faint")]
    if len(learned.training) > 2 * SMOOTHING_POINTS:
        smooth = thin(learned.training, SMOOTHING_POINTS)
        series.append(Series("training, mean", smooth, "line-a"))
    else:
        series = [Series("training", learned.training, "line-a")]
    series.append(Series("held-out", learned.held_out, "line-b", marks=True))
    return line_chart(series, "step", "loss")


def learned_facts(learned: runfiles.QuickTrain | None) -> list[str]:
    """Returns facts from the summary of the training, as far as it has them."""
    summary = learned.summary if learned else {}
    facts = [f"preset {summary['preset']}"] if "preset" in summary else []
    return facts + [
        f"{summary[key]:,} {name}"
        for key, name in TRAINING_FACTS.items()
        if isinstance(summary.get(key), int)
    ]


def signal_chart(signal: Signal) -> Markup:
    """Draws a signal's histogram, of the kept records over that of all."""
    return histogram(
        signal.every, signal.kept, signal.low, signal.high, logarithmic=signal.logarithmic
    )

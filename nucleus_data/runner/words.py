"""Formats a stage's report: a line for `stages.jsonl`, and lines for people."""

from collections.abc import Iterator
from typing import Any

from nucleus_data.printed import counted, visible
from nucleus_data.runner.due import NO_ANSWER, NO_MATCH, NO_PARENT, NOT_IN_SHARE
from nucleus_data.runner.work import WAITING, StageReport, Summary

SHOWN_FAILURES = 5
# Reasons why a record is not due for a table, in words.
WHY = {
    NO_MATCH: "for which `where` is false",
    NO_ANSWER: "for which `where` is NULL",
    NOT_IN_SHARE: "outside its share",
    NO_PARENT: "without anything to make it from",
}


def stage_line(report: StageReport) -> dict[str, Any]:
    """Returns a stage's counts for `stages.jsonl`."""
    summary = report.summary
    return {
        "stage": report.stage,
        "seconds": round(report.seconds, 3),
        "setup_seconds": round(report.setup_seconds, 3),
        "shards": report.shards,
        "failed_shards": len(report.failed),
        "worker_deaths": report.deaths,
        "rows": summary.rows,
        "already": summary.already,
        "done": summary.done,
        "failed": sum(summary.failed.values()),
        "retryable": summary.retryable,
        "reasons": dict(sorted(summary.failed.items())),
        "tables": {name: table.line() for name, table in sorted(summary.tables.items())},
        "bytes": summary.bytes,
        "extra": dict(sorted(summary.extra.items())),
        "seconds_by_phase": {k: round(v, 3) for k, v in sorted(summary.seconds.items())},
    } | ({"told": report.told} if report.told else {})


def failures_of(report: StageReport) -> list[dict[str, Any]]:
    """Returns a stage's failed shards for `failures.jsonl`."""
    return [
        {
            "stage": report.stage,
            "shard": failed.number,
            "error": failed.error,
            "traceback": failed.traceback,
        }
        for failed in report.failed
    ]


def describe(report: StageReport) -> str:
    """Describes what a stage did and how fast, with a line per table if their failures differ."""
    summary = report.summary
    parts = [counted(summary.rows, "row")]
    if summary.already:
        parts.append(f"{summary.already:,} already done")
    parts.append(f"{summary.done:,} done")
    if summary.failed:
        reasons = ", ".join(f"{name} {count:,}" for name, count in summary.failed.most_common(6))
        parts.append(f"{sum(summary.failed.values()):,} failed ({reasons})")
    parts += waiting(summary)
    if report.failed:
        parts.append(f"{len(report.failed)} SHARDS FAILED")
    if report.deaths:
        parts.append(f"{report.deaths} worker deaths")
    seconds = f"{report.seconds:.1f} s"
    if report.setup_seconds:
        seconds += f", of which {report.setup_seconds:.1f} s loading the model"
    worked = max(report.seconds - report.setup_seconds, 0.001)
    if summary.done and report.seconds > 0.5:
        rate = summary.done / worked
        seconds += f", {rate:,.0f}/s" if rate >= 10 else f", {rate:.2g}/s"
    seconds += _busy(summary)
    lines = [f"{report.stage}: {', '.join(parts)} ({seconds})", *_tables(summary)]
    told = [f"  {line}" for line in report.told]
    return "\n".join([*lines, *left_out(summary), *told])


def failed_lines(report: StageReport, where: str, again: str | None) -> Iterator[str]:
    """Yields lines about the first failed shards, and what to do.

    Args:
        report: The stage's report.
        where: URL of the file with the tracebacks.
        again: The command that retries failures; None where it would not do these.
    """
    for failed in report.failed[:SHOWN_FAILURES]:
        yield f"  shard {failed.number:06d} failed: {visible(failed.error)}"
    if report.failed:
        more = len(report.failed) - SHOWN_FAILURES
        yield (f"  and {more} more; " if more > 0 else "  ") + f"tracebacks: {where}"
        yield "  run the same command again" + (f", or: {again}" if again else "")


def left_out(summary: Summary) -> list[str]:
    """Returns a line for each table that leaves records out: how many, and why."""
    lines = []
    for name, table in sorted(summary.tables.items()):
        counts = [f"{n:,} {WHY[reason]}" for reason, n in sorted(table.left_out.items()) if n]
        if counts:
            lines.append(f"  {name}: due for {table.rows:,}; left out: {', '.join(counts)}")
    return lines


def waiting(summary: Summary) -> list[str]:
    """Returns how many records wait for a row in which tables."""
    counts = sorted(summary.extra.items())
    return [f"{count:,} {name}" for name, count in counts if name.startswith(WAITING)]


def _busy(summary: Summary) -> str:
    """Formats the share of time in which a stage's model was busy, if known."""
    busy, waited = (summary.seconds.get(phase, 0.0) for phase in ("model", "model_waits"))
    return f", model busy {busy / (busy + waited):.0%}" if busy else ""


def _tables(summary: Summary) -> list[str]:
    """Returns a line for each table with failures, if the tables' failures differ."""
    failures = [table.failed for table in summary.tables.values()]
    if all(failed == failures[0] for failed in failures):
        return []
    lines = []
    for name, table in sorted(summary.tables.items()):
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in table.failed.most_common(6))
        again = f"; {table.retryable:,} may be temporary" if table.retryable else ""
        if reasons:
            failed = sum(table.failed.values())
            lines.append(f"  {name}: {table.done:,} done, {failed:,} failed ({reasons}){again}")
    return lines

"""What a stage did, from its counts: a line for `stages.jsonl`, and one for people."""

from typing import Any

from nucleus_data.runner.work import WAITING, StageReport, Summary


def stage_line(report: StageReport) -> dict[str, Any]:
    """A stage's counts as they stand in `stages.jsonl`."""
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


def describe(report: StageReport) -> str:
    """For people: what a stage did, and how fast; with lines on its tables if they differ."""
    summary = report.summary
    parts = [f"{summary.rows:,} rows"]
    if summary.already:
        parts.append(f"{summary.already:,} done before")
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
        seconds += f", {summary.done / worked:,.0f}/s"
    seconds += _busy(summary)
    told = [f"  {line}" for line in report.told]
    return "\n".join([f"{report.stage}: {', '.join(parts)} ({seconds})", *_tables(summary), *told])


def waiting(summary: Summary) -> list[str]:
    """How many records wait for a table that has no row of them yet."""
    found = sorted(summary.extra.items())
    return [f"{count:,} {name}" for name, count in found if name.startswith(WAITING)]


def _busy(summary: Summary) -> str:
    """The share of its time that a stage's model was busy, if it says so."""
    busy, waited = (summary.seconds.get(phase, 0.0) for phase in ("model", "model_waits"))
    return f", model busy {busy / (busy + waited):.0%}" if busy else ""


def _tables(summary: Summary) -> list[str]:
    """A line for each table with failures, if the tables' failures differ."""
    failures = [table.failed for table in summary.tables.values()]
    if all(failed == failures[0] for failed in failures):
        return []
    lines = []
    for name, table in sorted(summary.tables.items()):
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in table.failed.most_common(6))
        again = f"; {table.retryable:,} may pass" if table.retryable else ""
        if reasons:
            failed = sum(table.failed.values())
            lines.append(f"  {name}: {table.done:,} done, {failed:,} failed ({reasons}){again}")
    return lines

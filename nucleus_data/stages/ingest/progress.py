"""Progress and summary of an ingest, for people: pictures, bytes, reasons, hosts."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from nucleus_data.printed import amount, counted
from nucleus_data.runner.work import Summary
from nucleus_data.stages.ingest.fields import LEFT_OUT, MOST_COLUMNS
from nucleus_data.stages.ingest.hosts import FOLDER as HOSTS

# Prefix of a host's name in `Summary.extra`.
TROUBLE = "host in trouble: "
COLUMNS_LEFT_OUT = "columns_left_out"
ON_BAR, AT_END = 3, 5
PLANNING_S = 10.0  # seconds between two lines while a list is planned


class Planning:
    """Reports the progress of planning a long list, every ten seconds.

    Args:
        say: Receives lines for people.
        clock: Returns the time in seconds.
    """

    def __init__(
        self,
        say: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say, self._clock = say, clock
        self._told = clock()

    def at(self, count: int, what: str) -> None:
        """Reports `planning: COUNT rows WHAT`, if the last report is ten seconds ago."""
        if (now := self._clock()) - self._told >= PLANNING_S:
            self._told = now
            self._say(f"planning: {counted(count, 'row')} {what}")


def extra_counts(counts: Mapping[str, Any]) -> Counter[str]:
    """Returns a shard's further counts, for `Summary.extra`.

    Args:
        counts: The result of `build_shard`.
    """
    hosts = {f"{TROUBLE}{host}": n for host, n in counts.get("hosts", {}).items()}
    left_out = {COLUMNS_LEFT_OUT: counts.get("columns_left_out", 0)}
    return Counter(counts.get("captions", {})) + Counter(left_out) + Counter(hosts)


def on_bar(summary: Summary, seconds: float) -> str:
    """Returns the counts so far, for the progress bar."""
    parts = [counted(summary.done, "image"), f"{_rate(summary.done, seconds):,.0f}/s"]
    parts.append(amount(summary.bytes))
    parts += [f"{reason} {count:,}" for reason, count in summary.failed.most_common(ON_BAR)]
    if troubled := sum(name.startswith(TROUBLE) for name in summary.extra):
        parts.append(f"{troubled:,} hosts in trouble")
    return ", ".join(parts)


def told(summary: Summary, seconds: float, uri: str) -> list[str]:
    """Returns lines about a finished ingest.

    Args:
        summary: Its counts.
        seconds: Its duration.
        uri: The corpus.
    """
    lines = []
    if summary.done and seconds > 0.5:
        speed = f"{_rate(summary.done, seconds):,.1f} images/s"
        each = amount(_rate(summary.bytes, seconds))
        lines.append(
            f"{counted(summary.done, 'image')}, {amount(summary.bytes)}: {speed}, {each}/s"
        )
    untaken = summary.extra.copy()
    troubled = {n: untaken.pop(n) for n in list(untaken) if n.startswith(TROUBLE)}
    if troubled:
        worst = sorted(troubled.items(), key=lambda item: (-item[1], item[0]))
        shown = ", ".join(f"{n.removeprefix(TROUBLE)} {count:,}" for n, count in worst[:AT_END])
        lines.append(
            f"requests to {len(troubled):,} hosts were slowed down or given up; hosts with the "
            f"most failed URLs: {shown}. All: {uri}/{HOSTS}/*.parquet"
        )
    if left_out := untaken.pop(COLUMNS_LEFT_OUT, 0):
        lines.append(
            f"{left_out:,} values of JSON files were left out: an image shard has at most "
            f"{MOST_COLUMNS} upstream columns. Affected: records with {LEFT_OUT}"
        )
    if untaken:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(untaken.items()))
        lines.append(
            f"{untaken.total():,} captions could not be ingested ({reasons}); their pictures were. "
            "Affected: records with a source.caption_error"
        )
    return lines


def _rate(count: float, seconds: float) -> float:
    return count / max(seconds, 0.001)

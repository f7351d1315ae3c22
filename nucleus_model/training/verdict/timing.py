"""What a comparison took, in `timings.json`; never in `verdict.json`."""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TIMINGS = "timings.json"


@contextmanager
def timed(out: Path, runs: int) -> Iterator[None]:
    """Adds what some runs took to `timings.json`, if they end.

    Args:
        out: The comparison's folder.
        runs: How many are done inside.
    """
    clock, processor = time.perf_counter(), _processor()
    yield
    if runs:
        took = {
            "runs": runs,
            "seconds": time.perf_counter() - clock,
            # Of this process and of those that it started and that have ended.
            "processor_seconds": _processor() - processor,
        }
        content = _read(out)
        content["sessions"].append(took)
        _write(out, content)


def note_forecast(out: Path, forecast: Mapping[str, Any]) -> None:
    """Writes what is foreseen into `timings.json`."""
    _write(out, {**_read(out), "forecast": forecast})


def _processor() -> float:
    found = os.times()
    return found.user + found.system + found.children_user + found.children_system


def _read(out: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((out / TIMINGS).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        # Of no account for what is found, so that a torn one stops nothing.
        return {"forecast": None, "sessions": []}
    return found


def _write(out: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    (out / TIMINGS).write_text(text, encoding="utf-8")

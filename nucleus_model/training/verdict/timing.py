"""Records how long a comparison took, in `timings.json` and never in `verdict.json`."""

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
    """Adds the time of the runs inside the context to `timings.json`, if they end normally.

    Args:
        out: The comparison's folder.
        runs: Number of runs executed inside.
    """
    clock, processor = time.perf_counter(), _processor()
    yield
    if runs:
        took = {
            "runs": runs,
            "seconds": time.perf_counter() - clock,
            # CPU time of this process and of its children that have ended.
            "processor_seconds": _processor() - processor,
        }
        content = _read(out)
        content["sessions"].append(took)
        _write(out, content)


def note_forecast(out: Path, forecast: Mapping[str, Any]) -> None:
    """Writes the forecast to `timings.json`."""
    _write(out, {**_read(out), "forecast": forecast})


def _processor() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def _read(out: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads((out / TIMINGS).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        # A damaged file is ignored, as timings do not affect the verdict.
        return {"forecast": None, "sessions": []}
    return content


def _write(out: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    (out / TIMINGS).write_text(text, encoding="utf-8")

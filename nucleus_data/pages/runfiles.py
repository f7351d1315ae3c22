"""Reads the files of a run, `runs/<run>/`: its plan, times, failures and quick training.

Missing files are treated as empty. Incomplete lines, of a writer that was killed, are skipped and
counted; the page shows their number.
"""

import io
import math
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from nucleus_data.corpus.runs import read_json, read_lines
from nucleus_data.corpus.store import Store
from nucleus_data.pages.pictures import data_uri

SECRET = re.compile(r"(storage_options[^=\s]*=)('[^']*'|\"[^\"]*\"|\S+)")
MOST_FAILURES = 20
MOST_REASONS = 12


@dataclass
class StageTime:
    """The sums of a stage's finished runs."""

    name: str
    seconds: float = 0.0
    shards: int = 0
    rows: int = 0
    done: int = 0
    failed: int = 0
    pending: int = 0
    phases: dict[str, float] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)

    def failures(self) -> str:
        """Returns why rows failed, the most frequent reasons first."""
        ordered = sorted(self.reasons.items(), key=lambda item: (-item[1], item[0]))
        more = [f"{len(ordered) - MOST_REASONS} more"] if len(ordered) > MOST_REASONS else []
        shown = [f"{reason} {count:,}" for reason, count in ordered[:MOST_REASONS]]
        return ", ".join(shown + more)


@dataclass(frozen=True)
class SampleRow:
    """The samples for one prompt, as one picture."""

    prompt: str
    uri: str


@dataclass(frozen=True)
class QuickTrain:
    """A quick training run.

    Attributes:
        training: Points (step, loss) of the training samples.
        held_out: Points (step, loss) of the held-out samples.
        not_finite: Number of losses that are NaN or infinite.
        rows: Samples by prompt.
        seeds: The seed of each column of the samples.
        unreadable: Number of incomplete lines.
        summary: The run's own summary (preset, parameters, steps, …); may be empty.
    """

    training: Sequence[tuple[float, float]]
    held_out: Sequence[tuple[float, float]]
    not_finite: int
    rows: Sequence[SampleRow]
    seeds: Sequence[int]
    unreadable: int
    summary: Mapping[str, Any]

    @property
    def final(self) -> tuple[str, float] | None:
        """The last held-out loss if there is one, or else the last training loss, with its name."""
        if self.held_out:
            return "held-out", self.held_out[-1][1]
        return ("training", self.training[-1][1]) if self.training else None


def command_line(plan: Mapping[str, Any]) -> str:
    """Returns the run's command as typed, without values of storage options (may be secret)."""
    command = plan.get("told") or plan.get("command") or ""
    text = command if isinstance(command, str) else shlex.join(str(part) for part in command)
    return SECRET.sub(r"\1…", text)


def stage_times(lines: Sequence[Mapping[str, Any]]) -> list[StageTime]:
    """Adds up seconds, counts and phases by stage, in the order in which stages first finished."""
    stages: dict[str, StageTime] = {}
    for line in lines:
        stage = stages.setdefault(str(line["stage"]), StageTime(str(line["stage"])))
        stage.seconds += float(line.get("seconds") or 0)
        for name in ("shards", "rows", "done", "failed", "pending"):
            setattr(stage, name, getattr(stage, name) + int(line.get(name) or 0))
        for phase, seconds in (line.get("seconds_by_phase") or {}).items():
            stage.phases[phase] = stage.phases.get(phase, 0.0) + float(seconds)
        stage.reasons.update(line.get("reasons") or {})
    return list(stages.values())


def quick_train(store: Store, folder: str) -> QuickTrain | None:
    """Reads the metrics and samples in a quick-train folder; None if there are no metrics."""
    lines, unreadable = read_lines(store, f"{folder}/metrics.jsonl")
    if not lines:
        return None
    training: dict[float, float] = {}
    held_out: dict[float, float] = {}
    not_finite = 0
    for line in lines:
        for points, name in ((training, "loss"), (held_out, "holdout_loss")):
            value = line.get(name)
            if value is None:
                continue
            if math.isfinite(float(value)):
                points[float(line["step"])] = float(value)  # a resumed run repeats its last steps
            else:
                not_finite += 1
    facts = read_json(store, f"{folder}/samples.json")
    rows = _sample_rows(store, f"{folder}/samples.png", facts)
    return QuickTrain(
        sorted(training.items()),
        sorted(held_out.items()),
        not_finite,
        rows,
        facts.get("columns", []),
        unreadable,
        read_json(store, f"{folder}/summary.json"),
    )


def _sample_rows(store: Store, name: str, facts: Mapping[str, Any]) -> list[SampleRow]:
    """Cuts the grid of samples into one strip per prompt; whole if its layout is unknown."""
    try:
        data = store.read(name)
    except FileNotFoundError:
        return []
    prompts = facts.get("rows", [])
    if not prompts:
        return [SampleRow("", data_uri("image/png", data))]
    height, padding = int(facts["cell_height"]), int(facts.get("padding", 0))
    strips = []
    with Image.open(io.BytesIO(data), formats=["PNG"]) as grid:
        for row, prompt in enumerate(prompts):
            top = padding + row * (height + padding)
            strip = io.BytesIO()
            grid.crop((padding, top, grid.width - padding, top + height)).save(strip, "PNG")
            strips.append(SampleRow(str(prompt), data_uri("image/png", strip.getvalue())))
    return strips

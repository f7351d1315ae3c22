"""Writes a run's metrics as JSON lines, and for TensorBoard.

A step's line is written and synced before the checkpoint that contains the step. So a run that
resumes from a checkpoint finds all lines up to its step. It drops later lines, so that each step is
in the file exactly once.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from nucleus_data.errors import CorpusError, RequestError

METRICS, TIMINGS, BOARD = "metrics.jsonl", "timings.jsonl", "tensorboard"
LAST_LOSSES = 20


class Metrics:
    """The metrics of a run, in memory and in its folder.

    Args:
        folder: The run's folder.
        step: The step from which the run resumes, or 0; lines of later steps are removed.
        writes: Whether this process writes files (rank 0).
        board: Whether to also write for TensorBoard.

    Attributes:
        lines: All lines of `metrics.jsonl`.
        timings: All lines of `timings.jsonl`.

    Raises:
        CorpusError: The lines up to `step` are not complete.
        RequestError: TensorBoard is not installed.
    """

    def __init__(
        self, folder: Path, step: int, *, writes: bool = True, board: bool = False
    ) -> None:
        self.lines = [x for x in read_lines(folder / METRICS) if x["step"] <= step]
        self.timings = [x for x in read_lines(folder / TIMINGS) if x["step"] <= step]
        steps = [line["step"] for line in self.steps()]
        # With missing lines, the summary would silently be wrong.
        if steps != list(range(1, step + 1)):
            raise CorpusError(
                f"{folder / METRICS} lacks or repeats some of the steps 1 to {step} that the "
                "checkpoint has done; put it back, or remove the folder and train again"
            )
        # Lines after the checkpoint are dropped here, as their steps will be repeated. The file is
        # written under another name and renamed, so that a kill in between leaves the old one.
        self._files: dict[str, IO[str]] = {}
        self._board: Any = open_board(folder / BOARD, step) if writes and board else None
        if writes:
            for name, lines in ((METRICS, self.lines), (TIMINGS, self.timings)):
                part = folder / f".{name}.part"
                part.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
                part.replace(folder / name)
                self._files[name] = (folder / name).open("a", encoding="utf-8")

    def steps(self) -> Iterator[dict[str, Any]]:
        """Returns the lines of steps, without those of measurements."""
        return (line for line in self.lines if "loss" in line)

    def write(self, line: dict[str, Any]) -> None:
        """Adds a line; numbers that are not finite become null."""
        # JSON has no NaN; Python would write `NaN`, which other readers reject.
        line = {key: _finite(value) for key, value in line.items()}
        self.lines.append(line)
        self._append(METRICS, line)
        if self._board is not None:
            for name, value in _scalars(line):
                self._board.add_scalar(name, value, line["step"])

    def time(self, step: int, seconds: float, images: int) -> None:
        """Adds the time of a step.

        Args:
            step: The step.
            seconds: Wall-clock time of the step.
            images: Number of images of the step.
        """
        line = {"step": step, "seconds": seconds, "images_per_second": images / seconds}
        self.timings.append(line)
        self._append(TIMINGS, line)

    def sync(self) -> None:
        """Syncs all added lines to disk."""
        for file in self._files.values():
            os.fsync(file.fileno())
        if self._board is not None:
            self._board.flush()

    def close(self) -> None:
        """Closes the files."""
        for file in self._files.values():
            file.close()
        if self._board is not None:
            self._board.close()

    def summary(self) -> dict[str, Any]:
        """Returns the part of the run's summary that is computed from its metrics."""
        steps = list(self.steps())
        losses = [line["loss"] for line in steps if line["loss"] is not None]
        last = losses[-LAST_LOSSES:]
        return {
            "epochs": steps[-1]["epoch"] + 1,
            "images": sum(line["samples"] for line in steps),
            "first_loss": losses[0] if losses else None,
            "last_loss": math.fsum(last) / len(last) if last else None,
            "holdout": [line for line in self.lines if "holdout_loss" in line],
            "skipped_steps": sum("skipped" in line for line in steps),
        }

    def images_per_second(self) -> float:
        """Returns the speed over all steps except the first, which includes warm-up."""
        lines = self.timings[1:] or self.timings
        images = sum(line["images_per_second"] * line["seconds"] for line in lines)
        seconds: float = sum(line["seconds"] for line in lines)
        return images / seconds if seconds else 0.0

    def _append(self, name: str, line: Mapping[str, Any]) -> None:
        if name in self._files:
            self._files[name].write(json.dumps(line) + "\n")
            self._files[name].flush()


def read_lines(file: Path) -> list[dict[str, Any]]:
    """Reads a file's JSON lines, up to the first incomplete one; none if there is no file."""
    lines: list[dict[str, Any]] = []
    if not file.exists():
        return lines
    for text in file.read_text("utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines


def open_board(folder: Path, step: int) -> Any:
    """Opens a TensorBoard writer.

    Args:
        folder: The folder to write to.
        step: The step from which the run resumes, or 0; TensorBoard hides earlier values of later
            steps.

    Raises:
        RequestError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise RequestError(
            f"quick_train.tensorboard needs the package tensorboard ({error}); run: "
            "pip install 'nucleus-data[train]'"
        ) from error
    writer: Any = SummaryWriter
    return writer(str(folder), purge_step=step + 1 if step else None)


def describe(summary: Mapping[str, Any]) -> str:
    """Describes a run's result in one line, without wall-clock times."""
    held = summary["holdout"]
    held_text = f", held-out loss {_figure(held[-1]['holdout_loss'])}" if held else ""
    if "holdout_loss" in summary.get("merged", {}):
        held_text += f", merged {_figure(summary['merged']['holdout_loss'])}"
    skipped = summary.get("skipped_steps", 0)
    skipped_text = f", {skipped} of them skipped" if skipped else ""
    extended = ", ".join(map(str, summary.get("extended", [])))
    extended_text = f" (extended after step {extended})" if extended else ""
    return (
        f"{summary['steps']} steps{extended_text}{skipped_text}, {summary['images']} images of "
        f"{summary['train_samples']} samples: loss {_figure(summary['first_loss'])} to "
        f"{_figure(summary['last_loss'])}{held_text}"
    )


def _figure(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3f}"


def _scalars(line: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in line.items():
        if isinstance(value, Mapping):
            yield from _scalars(value, f"{prefix}{name}/")
        elif isinstance(value, list | tuple):
            numbers = [(i, v) for i, v in enumerate(value) if isinstance(v, int | float)]
            yield from ((f"{prefix}{name}/{i}", float(number)) for i, number in numbers)
        elif isinstance(value, int | float) and name != "step":
            yield f"{prefix}{name}", float(value)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value

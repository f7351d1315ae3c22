"""The training loop: takes the steps of all phases, does what is due after each, and summarises.

`train.quick_train` opens and closes the run's parts; its module lists the files of a run.
"""

import json
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from nucleus_data.errors import CorpusError
from nucleus_model.data.batches import Cursor
from nucleus_model.data.joint import JointOrder
from nucleus_model.data.phase_data import EncodedBatch, PhaseData
from nucleus_model.settings.phases import Phase, phase_at
from nucleus_model.settings.schedule import learning_rate
from nucleus_model.training.metrics import Metrics, describe
from nucleus_model.training.run_checkpoints import Position, RunCheckpoints
from nucleus_model.training.run_parts import RunParts
from nucleus_model.training.step import LocalBatch

Progress = Callable[[int, int, Mapping[str, Any]], None]
Saved = Callable[[Path], None]


class Trainer:
    """A run in this process: its parts, its position, and its output.

    Args:
        parts: The run's parts.
        out: The run's folder.
        joint: The common order of two sets that are compared; None for the set's own order.
    """

    def __init__(self, parts: RunParts, out: Path, joint: JointOrder | None) -> None:
        self.parts, self.out = parts, out
        self.settings, self.world = parts.settings, parts.world
        self.phases, self.phase_data = parts.phases, parts.phase_data
        self.checkpoints = RunCheckpoints(parts, out, joint)
        start = self.checkpoints.go_on()
        self.step, self.cursor, self.extended = start.step, start.cursor, start.extended
        self.metrics = Metrics(
            out, self.step, writes=self.world.first, board=self.settings.tensorboard
        )

    def train(self, progress: Progress | None, saved: Saved | None) -> None:
        """Takes the remaining steps.

        Args:
            progress: As in `quick_train`.
            saved: As in `quick_train`.
        """
        settings = self.settings
        times = settings.holdout_times
        # At equal distances, including the last step, whatever the number of steps.
        measured = {max(1, round(settings.steps * n / times)) for n in range(1, times + 1)}
        with closing(self._batches()) as batches:
            self._steps(batches, measured, progress, saved)

    def _steps(
        self,
        batches: Iterator[EncodedBatch],
        measured: set[int],
        progress: Progress | None,
        saved: Saved | None,
    ) -> None:
        """Takes steps; after each, measures, draws and saves if this is due."""
        settings = self.settings
        began = time.perf_counter()
        for loaded in batches:
            # Measurements, grids and checkpoints, in this order: the lines of a step are on disk
            # before its checkpoint, so a resumed run finds them.
            line = self._take(loaded)
            if line is None:
                continue
            self.metrics.time(self.step, time.perf_counter() - began, line["samples"])
            if (
                self.step in measured
                and (measured_line := self.parts.measure(self.cursor.phase, self.step)) is not None
            ):
                self.metrics.write(measured_line)
                line |= measured_line
            if _due(self.step, settings.sample_every):
                sheet = self.parts.previews(self.cursor.phase)
                if self.world.first:
                    sheet.write_sheet(self.out / "samples" / f"{self.step:06d}.png", self.step)
            if _due(self.step, settings.checkpoint_every) or self.step == settings.steps:
                if self.world.first:
                    self.metrics.sync()
                self.checkpoints.save(self._position())
                if saved is not None and self.step < settings.steps:
                    saved(self.checkpoints.path(self.step))
            if progress is not None:
                progress(self.step, settings.steps, line)
            began = time.perf_counter()  # the time of a step includes loading its batch

    def finish(self, grid: bool) -> dict[str, Any]:
        """Merges checkpoints if the schedule does, and writes samples and the summary.

        Args:
            grid: Whether to draw and write samples.

        Returns:
            The summary.
        """
        settings, data = self.settings, self.phase_data[-1]
        last = self.checkpoints.path(settings.steps)
        merged: dict[str, Any] = {}
        if settings.schedule == "warmup_stable_merge":
            last, merged = self.checkpoints.merge(self._position())
        # All processes draw, as the model is sharded over them; then only rank 0 writes.
        previews = self.parts.previews(self.cursor.phase) if grid else None
        summary = {
            "preset": settings.preset,
            "resolution": data.set.resolution,
            "parameters": self.parts.parameters,
            "steps": settings.steps,
            "samples": data.set.count,
            "without_caption": data.set.without,
            "train_samples": data.trained(self.phases[-1]),
            "holdout_samples": len(data.held_out),
            "rest_batches": data.plans(self.phases[-1]).rests,
            **({"extended": list(self.extended)} if self.extended else {}),
            **self.metrics.summary(),
            **merged,
        }
        summary |= {
            "text": describe(summary),
            # Relative, so that equal runs in different folders write equal bytes.
            "checkpoint": last.relative_to(self.out).as_posix(),
            **({} if previews is None else {"grid": "samples.png"}),
            "failures": {k: v for phase in self.parts.failures() for k, v in phase.items()},
            "captions_cut": self.parts.text.cut,
        }
        if self.world.first:
            if previews is not None:
                previews.write(self.out)
            text = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
            (self.out / "summary.json").write_text(text, encoding="utf-8")
        return summary

    def _batches(self) -> Generator[EncodedBatch, None, None]:
        """Yields the remaining batches of each phase, up to its last step."""
        while self.step < self.settings.steps:
            number = phase_at(self.phases, self.step + 1)
            # A phase begins with a new epoch, even in the middle of one, so that no noise is used
            # twice. The guard forgets its norms, as gradients of another phase are not comparable.
            if self.step == 0 or number != self.cursor.phase:
                self.cursor = Cursor(number, self.cursor.epoch + (self.step > 0))
                self.parts.begin(number)
                self.parts.guard.forget()
            data, epoch = self.phase_data[number], self.cursor.epoch
            # If an epoch ends without a single step, none of its images can be decoded. A resumed
            # epoch may have had its steps before, and is not counted.
            before = -1 if self.cursor.batch else self.step
            with data.feed(self.phases[number], self.cursor, self.parts.text.encode) as feed:
                for loaded in feed:
                    if loaded.plan.cursor.epoch > epoch:
                        if self.step == before:
                            raise CorpusError(self._undecodable(data, self.phases[number]))
                        epoch, before = loaded.plan.cursor.epoch, self.step
                    yield loaded
                    if (
                        self.step == self.settings.steps
                        or phase_at(self.phases, self.step + 1) != number
                    ):
                        break

    def _position(self) -> Position:
        return Position(self.step, self.cursor, self.extended)

    def _undecodable(self, data: PhaseData, phase: Phase) -> str:
        failed = {k: v for phase in self.parts.failures() for k, v in phase.items()}
        key, reason = next(iter(failed.items()))
        return (
            f"{data.set.store.uri}: none of the {data.trained(phase)} images can be decoded; "
            f"first error: {key}: {reason}"
        )

    def _take(self, loaded: EncodedBatch) -> dict[str, Any] | None:
        """Takes a step. Returns its line of metrics; None if none of its images can be decoded."""
        plan = loaded.plan
        phase = self.phases[plan.cursor.phase]
        height, width = (size // self.parts.preset.patch for size in loaded.latents_BCHW.shape[2:])
        of_mine = len(loaded.ids)
        total, tokens = map(int, self.world.sums(of_mine, of_mine * height * width))
        if not total:  # the sum is equal in all processes, so all of them skip this batch
            self.cursor = plan.after
            return None
        step = self.step + 1
        rate = learning_rate(step, self.settings, phase.lr_factor)
        batch = LocalBatch(
            draws=loaded.draws,
            latents_BCHW=loaded.latents_BCHW,
            ids=loaded.ids,
            captions=loaded.captions,
            total=total,
            # Equal in all processes, as all of them take part in the forward pass of each piece.
            pieces=-(-self.world.most(plan.slots) // phase.piece),
            with_routing=_due(step, self.settings.router_every),
        )
        result = self.parts.stepper.take(step, rate, phase, batch)
        self.step, self.cursor = step, plan.after
        line: dict[str, Any] = {"step": step, "epoch": plan.cursor.epoch}
        if len(self.phases) > 1:
            line["phase"] = plan.cursor.phase
        line |= {"loss": result.loss, "lr": rate, "grad_norm": result.grad_norm}
        line |= {"samples": total, "image_tokens": tokens}
        if result.z_loss is not None:
            line["z_loss"] = result.z_loss
        if result.skipped is not None:
            # The guard's verdict is equal in all processes, so all of them reach this call.
            parts = self.world.texts(" ".join(loaded.ids))
            ids = [ident for part in parts for ident in part.split()]
            line |= {"skipped": result.skipped, "ids": ids}
        self.metrics.write(line)
        if result.routing:
            self.metrics.write({"step": step, "router": result.routing})
        return line


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0

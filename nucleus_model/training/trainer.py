"""The training loop: steps through all phases, and what is due after each; the summary at the end.

`train.quick_train` opens the run's parts and closes them; its text lists the files of a run.
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
    """A run on this process: its parts, how far it is, and what it writes.

    Args:
        parts: What the run is made of.
        out: Its folder.
        joint: The order of two sets that are compared; None for the set's own.
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
        """Takes the steps that are left. Arguments as those of `quick_train`."""
        settings = self.settings
        times = settings.holdout_times
        # At equal distances, the last step included, whatever the number of steps.
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
        """Takes steps, each with what is due after it."""
        settings = self.settings
        began = time.perf_counter()
        for loaded in batches:
            # Measurements, grids, checkpoints, in this order: the lines of a step are on the disk
            # before the checkpoint that holds it, so a run that goes on finds them.
            line = self._take(loaded)
            if line is None:
                continue
            self.metrics.time(self.step, time.perf_counter() - began, line["samples"])
            if (
                self.step in measured
                and (found := self.parts.measure(self.cursor.phase, self.step)) is not None
            ):
                self.metrics.write(found)
                line |= found
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
            began = time.perf_counter()  # a step's time is that of its loading too

    def finish(self, grid: bool) -> dict[str, Any]:
        """Merges, if the schedule does; writes samples, if asked, and summary, which it returns."""
        settings, data = self.settings, self.phase_data[-1]
        last = self.checkpoints.path(settings.steps)
        merged: dict[str, Any] = {}
        if settings.schedule == "warmup_stable_merge":
            last, merged = self.checkpoints.merge(self._position())
        # Drawn by all processes, before rank 0 alone writes: the model is sharded over them.
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
            # Relative, so that equal runs in different folders leave equal bytes.
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
        """Loads what is left of each phase, up to its last step."""
        while self.step < self.settings.steps:
            number = phase_at(self.phases, self.step + 1)
            # A phase begins a new epoch even amid one, so that no noise is met twice; the guard's
            # median is of gradients that a new phase does not have.
            if self.step == 0 or number != self.cursor.phase:
                self.cursor = Cursor(number, self.cursor.epoch + (self.step > 0))
                self.parts.begin(number)
                self.parts.guard.forget()
            data, epoch = self.phase_data[number], self.cursor.epoch
            # An epoch without one step taken has no image that can be decoded; one that was begun
            # before this process started may have had its steps then.
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
            f"{data.set.store.uri}: none of the {data.trained(phase)} images can be decoded; the "
            f"first: {key}: {reason}"
        )

    def _take(self, loaded: EncodedBatch) -> dict[str, Any] | None:
        """Takes a step. Returns its line; None if none of its images can be decoded."""
        plan = loaded.plan
        phase = self.phases[plan.cursor.phase]
        total = int(self.world.sums(len(loaded.ids))[0])
        if not total:  # the same sum in every process, so all of them pass this batch over
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
            # The same number in every process, as each piece is a forward pass that all wait for.
            pieces=-(-self.world.most(plan.slots) // phase.piece),
            with_routing=_due(step, self.settings.router_every),
        )
        result = self.parts.stepper.take(step, rate, phase, batch)
        self.step, self.cursor = step, plan.after
        line: dict[str, Any] = {"step": step, "epoch": plan.cursor.epoch}
        if len(self.phases) > 1:
            line["phase"] = plan.cursor.phase
        line |= {"loss": result.loss, "lr": rate, "grad_norm": result.grad_norm, "samples": total}
        if result.z_loss is not None:
            line["z_loss"] = result.z_loss
        if result.skipped is not None:
            # The verdict is on sums over all processes, so all of them are here.
            parts = self.world.texts(" ".join(loaded.ids))
            ids = [ident for part in parts for ident in part.split()]
            line |= {"skipped": result.skipped, "ids": ids}
        self.metrics.write(line)
        if result.routing:
            self.metrics.write({"step": step, "router": result.routing})
        return line


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0

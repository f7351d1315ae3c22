"""The trainer: a training set in, a loss curve, checkpoints and samples out.

    summary = quick_train("corpus/sets/demo/<hash>", Path("out"), QuickTrainSettings(steps=600))

What it leaves in `out`, all of it equal to the last bit on the same machine with the same seed and
threads, but for the timings:

| file | content |
|---|---|
| `metrics.jsonl` | a line a step: step, epoch, loss, lr, grad_norm, samples; with several phases |
| | phase; where a step was odd skipped or clipped, and ids; and lines of measurements: |
| | holdout_loss, holdout_bins; router (by block: uncovered, single, coverage, max_load) |
| `timings.jsonl` | a line a step: step, seconds, images_per_second (of the step) |
| `checkpoints/NNNNNN/` | as `checkpoint` lists; `merged-NNNNNN/` beside, if the schedule merges |
| `samples/NNNNNN.png` | grids on the way |
| `samples.png`, `samples.json` | a row a prompt, a column a seed |
| `summary.json` | what `quick_train` returns, but for its `timings` and `encoded` |

A run that was killed goes on from its newest checkpoint when it is called again, and leaves the
same. One that is done goes on where it was when it is called with more steps, or further phases;
its learning rate is from there on that of the new number of steps. Under torchrun all processes
call it (`network.distributed`).
"""

import json
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nucleus_data.errors import CorpusError
from nucleus_data.hashing import config_hash
from nucleus_model.checkpoints.checkpoint import read_record, save_checkpoint
from nucleus_model.checkpoints.merge import merge_checkpoints
from nucleus_model.checkpoints.resume import (
    Checkpoints,
    alone,
    collect,
    load_weights,
    read_facts,
    restore,
)
from nucleus_model.data.batches import Cursor
from nucleus_model.data.joint import JointOrder
from nucleus_model.data.kept import Kept
from nucleus_model.data.phase_data import EncodedBatch, PhaseData
from nucleus_model.network.distributed import joined
from nucleus_model.settings.phases import Phase, phase_at
from nucleus_model.settings.schedule import learning_rate, merge_weights
from nucleus_model.settings.settings import QuickTrainSettings
from nucleus_model.training.determinism import deterministic
from nucleus_model.training.metrics import Metrics, describe
from nucleus_model.training.run_parts import RunParts
from nucleus_model.training.step import LocalBatch

Progress = Callable[[int, int, Mapping[str, Any]], None]
Saved = Callable[[Path], None]


def quick_train(
    set_folder: str,
    out: Path,
    settings: QuickTrainSettings,
    storage_options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    saved: Saved | None = None,
    joint: JointOrder | None = None,
    kept: Kept | None = None,
    grid: bool = True,
) -> dict[str, Any]:
    """Trains on a training set and samples from the result.

    Args:
        set_folder: Local path or fsspec URL of the folder that holds `manifest.parquet`.
        out: Local folder for the results (one that all processes see); if it holds a run of the
            same settings and set, or of fewer steps, that run goes on.
        settings: The run's settings.
        storage_options: For fsspec.
        progress: Called after each step with the step, the number of steps, and the step's metrics.
        saved: Called after each checkpoint on the way with its folder.
        joint: The order of two sets that are compared, in place of the set's own.
        kept: What other runs of this process have opened; None to open anew.
        grid: Whether samples are drawn at the end; without, the run has no `samples.png`.

    Returns:
        The summary; its keys `timings` (seconds, images_per_second) and `encoded` (what was read of
        latents and text states beside the set) are not in `summary.json`.

    Raises:
        CorpusError: The set is not as its manifest says, is empty, or none of its images can be
            decoded.
        RequestError: `limit` or `sample` leaves too little of the set, a package is missing, or
            another process trains in `out`.
        ValueError: The settings do not fit the set or the text encoder, or `out` holds another run.
        FloatingPointError: Too many steps in a row had a loss or gradient that is not finite; the
            checkpoints are left as they were.
    """
    started = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    with (
        deterministic(settings.threads, settings.device, settings.seed),
        joined(settings.device) as world,
        alone(out) if world.first else nullcontext(),
    ):
        parts = RunParts(set_folder, settings, storage_options, world, joint, kept)
        trainer = _Trainer(parts, out, joint)
        try:
            trainer.train(progress, saved)
            summary = trainer.finish(grid)
            encoded = trainer.parts.encoded()
        finally:
            trainer.metrics.close()
    seconds = time.perf_counter() - started
    speed = trainer.metrics.images_per_second()
    timings = {"seconds": seconds, "images_per_second": speed}
    return summary | {"timings": timings, "encoded": encoded}


class _Trainer:
    """A run on this process: its parts, how far it is, and what it writes."""

    def __init__(self, parts: RunParts, out: Path, joint: JointOrder | None) -> None:
        self.parts, self.out = parts, out
        self.settings, self.world = parts.settings, parts.world
        self.phases, self.phase_data = parts.phases, parts.phase_data
        keep = self.settings.merge_last if self.settings.schedule == "warmup_stable_merge" else 1
        keep = max(keep, self.settings.keep_checkpoints)
        self.checkpoints = Checkpoints(out / "checkpoints", keep)
        self.digests = [data.digest for data in self.phase_data]
        if joint is not None:
            self.digests = [config_hash([digest, joint.digest()]) for digest in self.digests]
        self.step, self.cursor = 0, Cursor()
        self.extended: list[int] = []
        self._go_on()

    def _go_on(self) -> None:
        """Goes on from the newest checkpoint, if there is one."""
        newest = self.checkpoints.newest()
        if newest is not None:
            facts = read_facts(newest, self.settings, self.digests)
            restore(newest, self.parts.model, self.parts.optimizers)
            self.parts.guard.restore(facts["guard"])
            self.step, self.cursor = facts["step"], Cursor(**facts["place"])
            self.extended = facts["extended"]
            # A run that was extended may have further phases.
            for data, failures in zip(self.phase_data, facts["failures"], strict=False):
                data.set.failures.update(failures)
            self.parts.begin(self.cursor.phase)
        self.world.wait()  # none reads what the first one tidies up
        if self.world.first:
            self.checkpoints.sweep()
        self.metrics = Metrics(
            self.out, self.step, writes=self.world.first, board=self.settings.tensorboard
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
                self._save()
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
            last, merged = self._merge()
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
            **({"extended": self.extended} if self.extended else {}),
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

    def _save(self) -> None:
        """Writes a checkpoint of now, once all lines up to now are on the disk."""
        # `place` is the cursor: checkpoints of earlier versions have it under this key.
        facts = {
            "step": self.step,
            "place": asdict(self.cursor),
            "guard": self.parts.guard.state(),
            "failures": self.parts.failures(),
            "settings": self.settings.model_dump(mode="json"),
            "data": self.digests,
        }
        if self.extended:
            facts["extended"] = self.extended
        record = {
            "step": self.step,
            "phase": self.cursor.phase,
            "resolution": self.phase_data[self.cursor.phase].set.resolution,
            "settings": facts["settings"],
            "codec": {"name": self.settings.codec, "factor": self.parts.codec.factor},
            "data": self.digests,
        }
        # All processes gather, as each has a shard of every tensor; one of them writes.
        weights, state = collect(self.parts.model, self.parts.optimizers, facts)
        if self.world.first:
            self.metrics.sync()
            path = self.checkpoints.path(self.step)
            save_checkpoint(path, self.parts.model, record, weights=weights, state=state)
            self.checkpoints.prune()
        self.world.wait()

    def _merge(self) -> tuple[Path, dict[str, Any]]:
        """Merges the last checkpoints of the last phase, and loads the merge into the model."""
        settings = self.settings
        # Of one phase: an earlier one may have had other capacity factors, and another resolution.
        found = [p for p in self.checkpoints.all() if read_record(p)["phase"] == self.cursor.phase]
        chosen = found[-settings.merge_last :]
        out = self.checkpoints.folder / f"merged-{settings.steps:06d}"
        if self.world.first:
            merge_checkpoints(chosen, merge_weights(settings.merge_weights, len(chosen)), out)
        self.world.wait()
        load_weights(out, self.parts.model)
        measured = self.parts.measure(self.cursor.phase, self.step) or {}
        return out, {"merged": measured | {"checkpoints": [path.name for path in chosen]}}


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0

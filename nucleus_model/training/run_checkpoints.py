"""Writes a run's checkpoints, resumes the run from the newest, and merges the last ones.

The package `checkpoints` manages the folders and stores tensors. This module adds what belongs to a
run: its settings, its data and its position.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nucleus_data.hashing import config_hash
from nucleus_model.checkpoints.checkpoint import read_record, save_checkpoint
from nucleus_model.checkpoints.merge import merge_checkpoints
from nucleus_model.checkpoints.resume import Checkpoints, collect, load_weights, read_facts, restore
from nucleus_model.data.batches import Cursor
from nucleus_model.data.joint import JointOrder
from nucleus_model.settings.schedule import merge_weights
from nucleus_model.training.run_parts import RunParts


@dataclass(frozen=True)
class Position:
    """The position of a run.

    Attributes:
        step: The last step that was taken; 0 at the beginning.
        cursor: Position in the data of the next step.
        extended: Steps after which the run was extended by further steps.
    """

    step: int = 0
    cursor: Cursor = field(default_factory=Cursor)
    extended: tuple[int, ...] = ()


class RunCheckpoints:
    """The checkpoints of a run; all processes must call its methods.

    Args:
        parts: The run's parts, which are saved and restored.
        out: The run's folder.
        joint: The common order of two sets that are compared; None for the set's own order.
    """

    def __init__(self, parts: RunParts, out: Path, joint: JointOrder | None) -> None:
        self.parts, self.settings, self.world = parts, parts.settings, parts.world
        keep = self.settings.merge_last if self.settings.schedule == "warmup_stable_merge" else 1
        keep = max(keep, self.settings.keep_checkpoints)
        self.checkpoints = Checkpoints(out / "checkpoints", keep)
        self.digests = [data.digest for data in parts.phase_data]
        if joint is not None:
            self.digests = [config_hash([digest, joint.digest()]) for digest in self.digests]

    def path(self, step: int) -> Path:
        """Returns the folder of a step's checkpoint."""
        return self.checkpoints.path(step)

    def go_on(self) -> Position:
        """Restores the newest checkpoint, if there is one, and returns its position.

        Raises:
            ValueError: The folder has checkpoints of another run.
        """
        position = Position()
        newest = self.checkpoints.newest()
        if newest is not None:
            facts = read_facts(newest, self.settings, self.digests)
            restore(newest, self.parts.model, self.parts.optimizers)
            self.parts.guard.restore(facts["guard"])
            position = Position(facts["step"], Cursor(**facts["place"]), tuple(facts["extended"]))
            # A run that was extended may have further phases.
            for data, failures in zip(self.parts.phase_data, facts["failures"], strict=False):
                data.set.failures.update(failures)
            self.parts.begin(position.cursor.phase)
        self.world.wait()  # rank 0 removes files that others may still read
        if self.world.first:
            self.checkpoints.sweep()
        return position

    def save(self, position: Position) -> None:
        """Writes a checkpoint. The metrics up to its step must have been synced to disk."""
        # The cursor's key is `place`, as in checkpoints of earlier versions.
        facts = {
            "step": position.step,
            "place": asdict(position.cursor),
            "guard": self.parts.guard.state(),
            "failures": self.parts.failures(),
            "settings": self.settings.model_dump(mode="json"),
            "data": self.digests,
        }
        if position.extended:
            facts["extended"] = list(position.extended)
        record = {
            "step": position.step,
            "phase": position.cursor.phase,
            "resolution": self.parts.phase_data[position.cursor.phase].set.resolution,
            "settings": facts["settings"],
            "codec": {"name": self.settings.codec, "factor": self.parts.codec.factor},
            "data": self.digests,
        }
        # All processes take part in gathering, as each has a shard of every tensor; rank 0 writes.
        weights, state = collect(self.parts.model, self.parts.optimizers, facts)
        if self.world.first:
            path = self.path(position.step)
            save_checkpoint(path, self.parts.model, record, weights=weights, state=state)
            self.checkpoints.prune()
        self.world.wait()

    def merge(self, position: Position) -> tuple[Path, dict[str, Any]]:
        """Merges the last checkpoints of the current phase, and loads the result into the model.

        Returns:
            The folder of the merged checkpoint, and its measurements for the summary.
        """
        settings = self.settings
        # Only of this phase: earlier ones may have other capacity factors and another resolution.
        phase = position.cursor.phase
        found = [p for p in self.checkpoints.all() if read_record(p)["phase"] == phase]
        chosen = found[-settings.merge_last :]
        out = self.checkpoints.folder / f"merged-{settings.steps:06d}"
        if self.world.first:
            merge_checkpoints(chosen, merge_weights(settings.merge_weights, len(chosen)), out)
        self.world.wait()
        load_weights(out, self.parts.model)
        measured = self.parts.measure(phase, position.step) or {}
        return out, {"merged": measured | {"checkpoints": [path.name for path in chosen]}}

"""One run of a comparison: an arm trained with a replicate's seed, and measured.

    do_run(RunSpec(out, "b", 3))   # leaves out/runs/b-003/losses.parquet, its last file

It reads the comparison's plan from its folder, so only a folder, an arm and a number go to a
worker. A run that was killed goes on; one that is done is left alone.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nucleus_model.checkpoints.checkpoint import load_checkpoint
from nucleus_model.checkpoints.saved import settings_of
from nucleus_model.data.draws import as_hex
from nucleus_model.data.kept import Kept
from nucleus_model.data.loader import Sample, TrainingSet
from nucleus_model.encoders.load import load_codec
from nucleus_model.settings.verdict import VerdictSettings
from nucleus_model.training.determinism import deterministic
from nucleus_model.training.train import quick_train
from nucleus_model.training.verdict.collect import REFERENCE, run_table
from nucleus_model.training.verdict.measures import LossTable, asked, joined, measure
from nucleus_model.training.verdict.plan import Arm, Planned

PLAN, PICTURES_FILE, LOSSES = "plan.json", "pictures.parquet", "losses.parquet"
BATCH = 32  # pictures that are measured at once
PROMPTS, LONGEST = 4, 200
GRIDS = 3  # replicates that draw samples: more are shown nowhere


@dataclass(frozen=True)
class RunSpec:
    """Which run of which comparison.

    Attributes:
        out: The comparison's folder.
        arm: `a` or `b`.
        replicate: Its number, from 0, and its seed.
        storage_options: Arm -> options for fsspec; they are written nowhere.
    """

    out: str
    arm: str
    replicate: int
    storage_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where the run lies."""
        return Path(self.out) / "runs" / f"{self.arm}-{self.replicate:03d}"

    @property
    def done(self) -> bool:
        """Whether it has been measured."""
        return (self.folder / LOSSES).is_file()


def write_plan(planned: Planned, out: Path) -> None:
    """Writes what runs read."""
    out.mkdir(parents=True, exist_ok=True)
    _replace(out / PICTURES_FILE, lambda path: pq.write_table(planned.pictures, path))
    text = json.dumps(planned.to_json(), indent=2, sort_keys=True) + "\n"
    _replace(out / PLAN, lambda path: path.write_text(text, encoding="utf-8"))


def read_plan(out: Path, storage_options: Mapping[str, Mapping[str, Any]] | None = None) -> Planned:
    """Reads what `write_plan` wrote. Raises FileNotFoundError."""
    found = json.loads((out / PLAN).read_text(encoding="utf-8"))
    options = storage_options or {}
    return Planned(
        VerdictSettings.model_validate(found["settings"]),
        {
            name: Arm(**arm, storage_options=options.get(name, {}))
            for name, arm in found["arms"].items()
        },
        found["digests"],
        pq.read_table(out / PICTURES_FILE),
        tuple(found["notes"]),
    )


def do_run(spec: RunSpec, kept: Kept | None = None) -> None:
    """Trains and measures, unless that is done.

    Args:
        spec: Which run.
        kept: What earlier runs of this process have opened; it changes no byte.

    Raises:
        As `quick_train` does.
    """
    if spec.done:
        return
    kept = kept or Kept()
    planned = read_plan(Path(spec.out), spec.storage_options)
    checkpoint = train_run(planned, spec.arm, spec.replicate, spec.folder, kept)
    found = Measured(planned, checkpoint, kept)
    finish_run(spec, run_table(found.reference(), found.memory()))


def train_run(planned: Planned, name: str, replicate: int, folder: Path, kept: Kept) -> Path:
    """Trains an arm with a replicate's seed, or goes on. Returns the last checkpoint."""
    arm, settings = planned.arms[name], planned.settings
    training = settings.training(replicate, _prompts(planned)).model_copy(
        update={"edition": arm.edition}
    )
    summary = quick_train(
        arm.folder,
        folder,
        training,
        arm.storage_options,
        joint=planned.order(replicate),
        kept=kept,
        grid=replicate < GRIDS,
    )
    return folder / str(summary["checkpoint"])


def finish_run(spec: RunSpec, table: pa.Table) -> None:
    """Writes a run's losses: with them it is done."""
    _replace(spec.folder / LOSSES, lambda path: pq.write_table(table, path))


class Measured:
    """A trained arm, as it is measured on a comparison's pictures.

    Args:
        planned: The comparison.
        checkpoint: Of the arm.
        kept: What earlier runs of this process have opened.
    """

    def __init__(self, planned: Planned, checkpoint: Path, kept: Kept) -> None:
        self.planned, self.kept = planned, kept
        self.model, record = load_checkpoint(checkpoint)
        self.training = settings_of(record)
        self.codec, self.text = load_codec(self.training), kept.text(self.training)

    def reference(self) -> LossTable:
        """Losses on the reference."""
        pictures = self.planned.pictures
        return self._losses(pictures.filter(pictures.column(REFERENCE)), only_true=False)

    def memory(self) -> LossTable:
        """Losses, with their own captions, on the others that tell what is memorised."""
        pictures = self.planned.pictures
        return self._losses(pictures.filter(told_apart(pictures)))

    def _losses(self, rows: pa.Table, *, only_true: bool = True) -> LossTable:
        texts = dict(zip(*(rows.column(n).to_pylist() for n in ("id", "caption")), strict=True))
        captions = asked(texts, only_true=only_true)
        parts = []
        for name, arm in self.planned.arms.items():
            mine = rows.filter(pc.equal(rows.column("read_from"), name)).column("id").to_pylist()
            if not mine:
                continue
            opened = arm.open(self.planned.settings, self.kept)
            room = self.training.latent_cache_bytes
            latents = self.kept.latents(opened, self.codec, self.training, room)
            samples = _samples(opened, mine)
            with deterministic(1, "cpu", 0):
                parts.append(
                    measure(self.model, self.text, latents, opened, samples, BATCH, captions)
                )
        return joined(parts)


def told_apart(pictures: pa.Table) -> pa.ChunkedArray:
    """Which pictures tell what is memorised and are not measured as the reference's anyway."""
    return pc.and_not(pc.is_valid(pictures.column("memory")), pictures.column(REFERENCE))


def _samples(opened: TrainingSet, ids: Sequence[str]) -> list[Sample]:
    """Samples of these ids, in order of id."""
    wanted, numbers = set(ids), opened.by_id
    names = as_hex(opened.tables.whole()["id"][numbers])
    return [
        opened.sample(int(number))
        for number, name in zip(numbers, names, strict=True)
        if name.decode() in wanted
    ]


def _prompts(planned: Planned) -> tuple[str, ...]:
    """Captions of the reference that the run's grid shows: the same in all runs."""
    rows = planned.pictures.filter(planned.pictures.column(REFERENCE))
    texts = dict.fromkeys(text[:LONGEST] for text in rows.column("caption").to_pylist() if text)
    return tuple(texts)[:PROMPTS] or ("",)


def _replace(path: Path, write: Any) -> None:
    """Writes a file so that it is there whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    write(part)
    part.replace(path)

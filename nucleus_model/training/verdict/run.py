"""One run of a comparison: trains an arm with a replicate's seed, and evaluates it.

    do_run(RunSpec(out, "b", 3))   # writes out/runs/b-003/losses.parquet last

The run reads the comparison's plan from its folder, so a worker only needs the folder, an arm and a
number. A killed run is continued; a finished one is left alone.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
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
from nucleus_model.training.verdict.facts import Copies
from nucleus_model.training.verdict.measures import LossTable, asked, joined, measure
from nucleus_model.training.verdict.plan import Arm, Planned

PLAN, PICTURES_FILE, LOSSES = "plan.json", "pictures.parquet", "losses.parquet"
BATCH = 32  # pictures per evaluation batch
PROMPTS, LONGEST = 4, 200  # number of prompts for samples, and their maximum length in characters
GRIDS = 3  # number of replicates that draw samples, as the page shows no more


@dataclass(frozen=True)
class RunSpec:
    """Identifies one run of a comparison.

    Attributes:
        out: The comparison's folder.
        arm: `a` or `b`.
        replicate: Number of the replicate, from 0; also its seed.
        storage_options: Arm -> options for fsspec; never written to disk.
    """

    out: str
    arm: str
    replicate: int
    storage_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return Path(self.out) / "runs" / f"{self.arm}-{self.replicate:03d}"

    @property
    def done(self) -> bool:
        """Whether the run is finished."""
        return (self.folder / LOSSES).is_file()


def write_plan(planned: Planned, out: Path) -> None:
    """Writes a comparison's plan to its folder."""
    out.mkdir(parents=True, exist_ok=True)
    replace_file(out / PICTURES_FILE, lambda path: pq.write_table(planned.pictures, path))
    text = json.dumps(planned.to_json(), indent=2, sort_keys=True) + "\n"
    replace_file(out / PLAN, lambda path: path.write_text(text, encoding="utf-8"))


def read_plan(out: Path, storage_options: Mapping[str, Mapping[str, Any]] | None = None) -> Planned:
    """Reads what `write_plan` wrote. Raises FileNotFoundError."""
    content = json.loads((out / PLAN).read_text(encoding="utf-8"))
    options = storage_options or {}
    # How far a comparison goes beyond its pilot is not in its plan.
    settings = {**content["settings"], "most": content["settings"]["replicates"]}
    return Planned(
        VerdictSettings.model_validate(settings),
        {
            name: Arm(**arm, storage_options=options.get(name, {}))
            for name, arm in content["arms"].items()
        },
        content["digests"],
        pq.read_table(out / PICTURES_FILE),
        tuple(content["notes"]),
        # Plans of earlier versions have none.
        {arm: Copies(**of) for arm, of in content.get("copies", {}).items()},
    )


def do_run(spec: RunSpec, kept: Kept | None = None) -> None:
    """Trains and evaluates, unless the run is finished.

    Args:
        spec: The run.
        kept: Sets and encoders opened by earlier runs of this process; does not affect results.

    Raises:
        As `quick_train` does.
    """
    if spec.done:
        return
    kept = kept or Kept()
    planned = read_plan(Path(spec.out), spec.storage_options)
    checkpoint = train_run(planned, spec.arm, spec.replicate, spec.folder, kept)
    evaluation = Measured(planned, checkpoint, kept)
    finish_run(spec, run_table(evaluation.reference(), evaluation.memory()))


def train_run(planned: Planned, name: str, replicate: int, folder: Path, kept: Kept) -> Path:
    """Trains an arm with a replicate's seed, or resumes. Returns the last checkpoint."""
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
    """Writes a run's losses, which marks it as finished."""
    replace_file(spec.folder / LOSSES, lambda path: pq.write_table(table, path))


class Measured:
    """Evaluates a trained arm on a comparison's pictures.

    Args:
        planned: The comparison.
        checkpoint: The arm's checkpoint.
        kept: Sets and encoders opened by earlier runs of this process.
    """

    def __init__(self, planned: Planned, checkpoint: Path, kept: Kept) -> None:
        self.planned, self.kept = planned, kept
        self.model, record = load_checkpoint(checkpoint)
        self.training = settings_of(record)
        self.codec, self.text = load_codec(self.training), kept.text(self.training)

    def reference(self) -> LossTable:
        """Returns the losses on the reference."""
        pictures = self.planned.pictures
        return self._losses(pictures.filter(pictures.column(REFERENCE)), only_true=False)

    def memory(self) -> LossTable:
        """Returns the losses, with true captions, on the other pictures for memorisation."""
        pictures = self.planned.pictures
        return self._losses(pictures.filter(told_apart(pictures)))

    def _losses(self, rows: pa.Table, *, only_true: bool = True) -> LossTable:
        texts = dict(zip(*(rows.column(n).to_pylist() for n in ("id", "caption")), strict=True))
        captions = asked(texts, only_true=only_true)
        parts = []
        for name, arm in self.planned.arms.items():
            ids = rows.filter(pc.equal(rows.column("read_from"), name)).column("id").to_pylist()
            if not ids:
                continue
            opened = arm.open(self.planned.settings, self.kept)
            room = self.training.latent_cache_bytes
            latents = self.kept.latents(opened, self.codec, self.training, room)
            samples = _samples(opened, ids)
            with deterministic(1, "cpu", 0):
                parts.append(
                    measure(self.model, self.text, latents, opened, samples, BATCH, captions)
                )
        return joined(parts)


def told_apart(pictures: pa.Table) -> pa.ChunkedArray:
    """Returns a mask of the pictures for memorisation that are not also reference pictures."""
    return pc.and_not(pc.is_valid(pictures.column("memory")), pictures.column(REFERENCE))


def _samples(opened: TrainingSet, ids: Sequence[str]) -> list[Sample]:
    """Returns the samples with these ids, sorted by id."""
    wanted, numbers = set(ids), opened.by_id
    names = as_hex(opened.tables.whole()["id"][numbers])
    return [
        opened.sample(int(number))
        for number, name in zip(numbers, names, strict=True)
        if name.decode() in wanted
    ]


def _prompts(planned: Planned) -> tuple[str, ...]:
    """Returns reference captions as prompts for samples, the same in all runs."""
    rows = planned.pictures.filter(planned.pictures.column(REFERENCE))
    texts = dict.fromkeys(text[:LONGEST] for text in rows.column("caption").to_pylist() if text)
    return tuple(texts)[:PROMPTS] or ("",)


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Writes or replaces a file atomically.

    Args:
        path: The file.
        write: Writes a file at the path that it is given.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)

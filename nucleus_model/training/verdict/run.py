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

from nucleus_model.checkpoints.saved import load_saved
from nucleus_model.data.latents import Latents
from nucleus_model.data.loader import Sample, TrainingSet
from nucleus_model.settings.verdict import VerdictSettings
from nucleus_model.training.determinism import deterministic
from nucleus_model.training.train import quick_train
from nucleus_model.training.verdict.collect import REFERENCE, run_table
from nucleus_model.training.verdict.measures import LossTable, asked, joined, measure
from nucleus_model.training.verdict.plan import Arm, Planned

PLAN, PICTURES_FILE, LOSSES = "plan.json", "pictures.parquet", "losses.parquet"
BATCH = 32  # pictures that are measured at once
PROMPTS, LONGEST = 4, 200


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


def do_run(spec: RunSpec) -> None:
    """Trains and measures, unless that is done.

    Raises:
        CorpusError: A set is not what it was when the comparison was planned.
        As `quick_train` does.
    """
    if spec.done:
        return
    planned = read_plan(Path(spec.out), spec.storage_options)
    arm, settings = planned.arms[spec.arm], planned.settings
    training = settings.training(spec.replicate, _prompts(planned)).model_copy(
        update={"edition": arm.edition}
    )
    summary = quick_train(
        arm.folder,
        spec.folder,
        training,
        arm.storage_options,
        joint=planned.order(spec.replicate),
    )
    with deterministic(1, "cpu", spec.replicate):
        table = _measured(planned, spec.folder / summary["checkpoint"])
    _replace(spec.folder / LOSSES, lambda path: pq.write_table(table, path))


def _measured(planned: Planned, checkpoint: Path) -> pa.Table:
    """Losses on the reference, and on the pictures that tell what is memorised."""
    saved = load_saved(checkpoint)
    sets = {name: arm.open(planned.settings) for name, arm in planned.arms.items()}
    latents = {name: Latents(saved.codec) for name in sets}

    def losses(rows: pa.Table, *, only_true: bool = False) -> LossTable:
        texts = dict(zip(*(rows.column(n).to_pylist() for n in ("id", "caption")), strict=True))
        captions = asked(texts, only_true=only_true)
        parts = []
        for name, opened in sets.items():
            mine = rows.filter(pc.equal(rows.column("read_from"), name)).column("id").to_pylist()
            if samples := _samples(opened, mine):
                model, text = saved.model, saved.text
                parts.append(measure(model, text, latents[name], opened, samples, BATCH, captions))
        return joined(parts)

    pictures = planned.pictures
    reference = losses(pictures.filter(pictures.column(REFERENCE)))
    trained = losses(pictures.filter(pc.is_valid(pictures.column("trained"))), only_true=True)
    return run_table(reference, trained)


def _samples(opened: TrainingSet, ids: Sequence[str]) -> list[Sample]:
    wanted = set(ids)
    return [sample for sample in opened.samples if sample.id in wanted]


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

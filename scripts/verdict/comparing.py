"""One comparison of the self-test, from pictures to a line: sets, runs, verdict.

All of it is the product's: its set writer, its plan, its runs, its verdict. Only the loop is one of
our own. It counts seeds from the case's first one, and trains the clean set once for all faults:
with the same ids its runs are the same whatever it is compared with.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from nucleus_data.hashing import config_hash
from nucleus_model.checkpoints.checkpoint import STATE
from nucleus_model.data.kept import Kept
from nucleus_model.settings.verdict import VerdictSettings
from nucleus_model.training.verdict.collect import REFERENCE, of_part, run_table
from nucleus_model.training.verdict.compare import compare
from nucleus_model.training.verdict.loops import Loop
from nucleus_model.training.verdict.measures import LossTable
from nucleus_model.training.verdict.plan import GIVEN, Arm, Planned
from nucleus_model.training.verdict.run import (
    LOSSES,
    Measured,
    RunSpec,
    finish_run,
    read_plan,
    train_run,
)
from scripts.verdict.cases import HALVES, OTHER_IDS, SWAPPED, Case
from scripts.verdict.control import sample_alarms
from scripts.verdict.faults import KINDS, clean, keyed_order
from scripts.verdict.pool import REFERENCE_WORLD, Item, pool, write_set

SUMMARY, METRICS = "summary.json", "metrics.jsonl"


class Bench:
    """Does comparisons in a folder, one after the other, in this process.

    Args:
        out: The folder; what is there of an unfinished comparison goes on.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.kept = Kept()

    def line(self, case: Case) -> dict[str, Any]:
        """Compares, and leaves nothing but what other comparisons share. Returns the line."""
        work = self.out / "work" / case.key.replace("/", "-").replace(" ", "_")
        work.mkdir(parents=True, exist_ok=True)
        a, b, reference = self._arms(case, work)
        settings = VerdictSettings(
            preset=case.preset,
            replicates=case.replicates,
            most=max(12, case.replicates),
            pictures=case.pictures,
        )
        out = work / "verdict"
        found = compare(a, b, out, settings, reference=reference, loop=self._loop(case.seeds))
        tables = {
            arm: [
                pq.read_table(RunSpec(str(out), arm, number).folder / LOSSES)
                for number in range(case.replicates)
            ]
            for arm in ("a", "b")
        }
        line = {**case.about(), **told(found), "sample_alarms": sample_alarms(tables)}
        shutil.rmtree(work)
        return line

    def _arms(self, case: Case, work: Path) -> tuple[Arm, Arm, Arm | None]:
        pictures = pool(case.pool)
        if case.kind == HALVES:
            mixed = keyed_order(pictures, f"halves:{case.pool}", case.repeat)
            half = len(mixed) // 2
            one, other = (clean(part) for part in (mixed[:half], mixed[half:]))
            return _arm(work / "a", one), _arm(work / "b", other), None
        if case.kind == OTHER_IDS:
            # The fault is the same at every share, and all that equal ids could differ by.
            count = round(case.dose * len(pictures))
            kept = keyed_order(pictures, "other-ids", case.repeat)[count:]
            both = [*kept, *pool(count, first=case.pool)]
            records = KINDS[SWAPPED].plant(both, KINDS[SWAPPED].doses[0], case.repeat)
        else:
            records = KINDS[case.kind].plant(pictures, case.dose, case.repeat)
        sets = self.out / "sets"
        sets.mkdir(exist_ok=True)
        yardstick = clean(pool(case.pictures, world=REFERENCE_WORLD))
        return (
            _arm(sets / f"clean-{case.pool}", clean(pictures)),
            _arm(work / "b", records),
            _arm(sets / f"reference-{case.pictures}", yardstick),
        )

    def _loop(self, first: int) -> Loop:
        def loop(specs: Sequence[RunSpec]) -> Iterator[RunSpec]:
            for spec in specs:
                self._run(spec, first + spec.replicate)
                yield spec

        return loop

    def _run(self, spec: RunSpec, seed: int) -> None:
        """Does a run with a seed; of a clean set that is compared with others, trains once."""
        planned = read_plan(Path(spec.out))
        shared = spec.arm == "a" and GIVEN in planned.arms
        folder = self._training(planned, seed) if shared else spec.folder
        checkpoint = _trained(folder) if shared else None
        if checkpoint is None:
            checkpoint = train_run(planned, spec.arm, seed, folder, self.kept)
        measured = Measured(planned, checkpoint, self.kept)
        if shared:
            reference = _once(folder, planned, measured)
            spec.folder.mkdir(parents=True, exist_ok=True)
            for name in (SUMMARY, METRICS):
                shutil.copyfile(folder / name, spec.folder / name)
            (checkpoint / STATE).unlink(missing_ok=True)
        else:
            reference = measured.reference()
        finish_run(spec, run_table(reference, measured.memory()))
        if not shared:
            shutil.rmtree(checkpoint.parent)

    def _training(self, planned: Planned, seed: int) -> Path:
        """Where a training lies that several comparisons share: by all that decides it."""
        settings = planned.settings.training(seed).model_dump(mode="json")
        found = config_hash([planned.digests["a"], planned.order(seed).digest(), settings])
        return self.out / "trainings" / found


def _arm(folder: Path, records: Sequence[Item]) -> Arm:
    return Arm(str(write_set(folder, records)), name=folder.name)


def _trained(folder: Path) -> Path | None:
    """The checkpoint of a training that is done; None for another one."""
    try:
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return folder / str(summary["checkpoint"])


def _once(folder: Path, planned: Planned, measured: Measured) -> LossTable:
    """Losses of a shared training on the reference, which are measured once."""
    rows = planned.pictures.filter(planned.pictures.column(REFERENCE))
    asked = rows.select(["id", "read_from", "caption"]).to_pylist()
    file = folder / f"reference-{config_hash([planned.digests[GIVEN], asked])}.parquet"
    if not file.is_file():
        found = measured.reference()
        part = file.with_suffix(".part")
        pq.write_table(run_table(found, found), part)
        part.replace(file)
    return of_part(pq.read_table(file), REFERENCE)


def told(found: dict[str, Any]) -> dict[str, Any]:
    """What a line keeps of `verdict.json`."""
    findings = [
        {
            "name": finding["measure"]["name"],
            **{key: finding[key] for key in ("a", "b", "p", "direction", "detectable")},
            **{key: finding["interval"][key] for key in ("mean", "low", "high")},
        }
        for finding in found["findings"]
    ]
    return {
        "word": found["word"],
        "sentence": found["sentence"],
        "pairs": found["pairs"],
        "drawn": found["pictures_note"] is not None,
        "shared": found["shared"],
        "findings": findings,
        "values": found["values"],
    }

"""A comparison of two training sets, from plan to sentence.

    found = compare(Arm("sets/a/1f.."), Arm("sets/b/20.."), Path("out"))
    found["sentence"]   # "B is better: captions carry 31 % more (27 to 35), ...; 6 seeds"

| file in `out` | content |
|---|---|
| `plan.json`, `pictures.parquet` | what is compared, on which pictures |
| `runs/a-000/` | arm A, seed 0: what `quick_train` leaves, and `losses.parquet` |
| `losses.parquet` | every loss of every run, by arm, replicate, picture and bin |
| `verdict.json` | what was found; no time of the clock, so equal comparisons are equal files |
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nucleus_data.errors import RequestError
from nucleus_model.settings.presets import PRESETS
from nucleus_model.settings.verdict import VerdictSettings
from nucleus_model.training.verdict.collect import (
    REFERENCE,
    TRAINED,
    of_part,
    picture_differences,
    replicates,
)
from nucleus_model.training.verdict.descriptive import bins, changed_most, curve, groups
from nucleus_model.training.verdict.intervals import crossed
from nucleus_model.training.verdict.judge import Claim, jsonable, judge
from nucleus_model.training.verdict.loops import Loop, processes
from nucleus_model.training.verdict.plan import GIVEN, Arm, Planned, plan_comparison
from nucleus_model.training.verdict.replicates import stein
from nucleus_model.training.verdict.run import LOSSES, RunSpec, read_plan, write_plan

VERDICT = "verdict.json"
# Where as many of all pictures are in both arms, a seed's two runs belong together. Fixed by ids
# alone, before any loss: a choice between two tests by their results would alarm more often.
PAIRED_FROM = 0.5
Progress = Callable[[int, int], None]
LIMITS = (
    "What a large model would make of the data: a small model sees whether captions and pictures "
    "belong together and can be learned, not fine detail or rare concepts.",
    "Anything at other resolutions, or after longer training than these steps.",
    "Whether the reference is what the model is for: the verdict is about its pictures.",
    "Duplicates of some pictures among many: they show as memorising only when there are plenty.",
)


def compare(
    a: Arm,
    b: Arm,
    out: Path,
    settings: VerdictSettings | None = None,
    *,
    reference: Arm | None = None,
    clusters: Mapping[str, str] | None = None,
    loop: Loop | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Compares two training sets; goes on with what a killed comparison left in `out`.

    Args:
        a: The set that is there.
        b: The set that it is compared with: the verdict is about B.
        out: Local folder.
        settings: Defaults: six pairs of nano runs, about these two sets.
        reference: A set whose pictures and captions are the yardstick; without one, pictures that
            are held out of both.
        clusters: Id -> cluster of copies, for a claim about recipes.
        loop: Does the runs; by default processes, one a core.
        progress: Called with how many runs are done, and of how many.

    Returns:
        The content of `verdict.json`.

    Raises:
        CorpusError: A set is not as it should be.
        RequestError: The sets can't be compared, or `out` holds another comparison.
    """
    settings = settings or VerdictSettings()
    planned = plan_comparison(a, b, settings, reference, clusters)
    _pin(planned, out)
    options = {name: arm.storage_options for name, arm in planned.arms.items()}
    loop = loop or processes()
    count, pilot = settings.replicates, None
    _run(out, options, 0, count, loop, progress)
    tables = _tables(out, count)
    pairs = _pairs(planned)
    if settings.half_width is not None:
        # The pilot's deviation decides, and nothing else of what it found.
        pilot, values = count, replicates(tables, planned.trained)
        deviation = float(np.std(values["b"]["loss"] - values["a"]["loss"], ddof=1))
        count = stein(deviation, pilot, settings.half_width, settings.most)
        _run(out, options, pilot, count, loop, progress)
        tables = _tables(out, count)
    found = _found(planned, out, tables, pairs=pairs, pilot=pilot)
    _write_losses(out, tables)
    text = json.dumps(found, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    (out / VERDICT).write_text(text, encoding="utf-8")
    return found


def _pin(planned: Planned, out: Path) -> None:
    """Writes the plan; or finds that the folder has this very one."""
    try:
        there = read_plan(out)
    except FileNotFoundError:
        write_plan(planned, out)
        return
    if there.pin() != planned.pin() or not there.pictures.equals(planned.pictures):
        raise RequestError(
            f"{out} holds a comparison of other sets, or with other settings; name another folder"
        )


def _run(
    out: Path,
    options: Mapping[str, Mapping[str, Any]],
    first: int,
    end: int,
    loop: Loop,
    progress: Progress | None,
) -> None:
    """Does the replicates from `first` to before `end`, both arms of each."""
    specs = [RunSpec(str(out), arm, n, options) for n in range(first, end) for arm in ("a", "b")]
    waiting = [spec for spec in specs if not spec.done]
    done = 2 * first + len(specs) - len(waiting)
    if progress is not None:
        progress(done, 2 * end)
    for _ in loop(waiting):
        done += 1
        if progress is not None:
            progress(done, 2 * end)


def _tables(out: Path, count: int) -> dict[str, list[pa.Table]]:
    """The runs' losses, by arm and replicate."""
    return {
        arm: [pq.read_table(RunSpec(str(out), arm, n).folder / LOSSES) for n in range(count)]
        for arm in ("a", "b")
    }


def _shared(planned: Planned) -> dict[str, int]:
    one, other = (planned.pictures.column(arm) for arm in ("a", "b"))
    counts = {
        "both": pc.and_(one, other),
        "a_only": pc.and_not(one, other),
        "b_only": pc.and_not(other, one),
    }
    return {name: int(pc.sum(mask).as_py() or 0) for name, mask in counts.items()}


def _pairs(planned: Planned) -> bool:
    found = _shared(planned)
    return found["both"] >= PAIRED_FROM * sum(found.values())


def _found(
    planned: Planned,
    out: Path,
    tables: Mapping[str, Sequence[pa.Table]],
    *,
    pairs: bool,
    pilot: int | None,
) -> dict[str, Any]:
    """The content of `verdict.json`."""
    settings = planned.settings
    values = replicates(tables, planned.trained)
    claim = Claim.RECIPES if settings.claim == "recipes" else Claim.SETS
    verdict = judge(values["a"], values["b"], claim, pairs=pairs, pilot=pilot)
    _, differences = picture_differences(tables)
    gained, lost = changed_most(tables)
    captions = dict(
        zip(*(planned.pictures.column(n).to_pylist() for n in ("id", "caption")), strict=True)
    )
    training = settings.training(0)
    token = PRESETS[training.preset].patch * training.codec_factor
    lines = {arm: _metrics(out, arm, len(of)) for arm, of in tables.items()}
    side = _summary(out)["resolution"]
    tokens = training.batch_size * (side // token) ** 2
    return {
        **verdict.as_dict(),
        "preset": settings.preset,
        "pairs": pairs,
        "shared": _shared(planned),
        "arms": {arm: _arm(planned, arm, training.steps * training.batch_size) for arm in tables},
        "steps": training.steps,
        "image_tokens": tokens * training.steps,
        "reference": _reference(planned, tables),
        "new_pictures": jsonable(asdict(crossed(differences))) if pairs else None,
        "values": jsonable(
            {arm: {name: list(of) for name, of in by.items()} for arm, by in values.items()}
        ),
        "bins": [jsonable(asdict(row)) for row in bins(tables, pairs=pairs)],
        "groups": {
            name: [jsonable(asdict(row)) for row in groups(tables, of, pairs=pairs)]
            for name, of in _groups(planned).items()
        },
        "curves": {
            name: jsonable(
                asdict(
                    curve(
                        {arm: [[x[name] for x in run] for run in of] for arm, of in lines.items()},
                        tokens,
                    )
                )
            )
            for name in ("loss", "grad_norm")
        },
        "gained": [{**asdict(change), "caption": captions[change.id]} for change in gained],
        "lost": [{**asdict(change), "caption": captions[change.id]} for change in lost],
        "limits": list(LIMITS),
    }


def _arm(planned: Planned, name: str, taken: int) -> dict[str, Any]:
    """What people should know of an arm."""
    arm = planned.arms[name]
    pictures = int(pc.sum(planned.pictures.column(name)).as_py())
    share = planned.settings.share if planned.settings.claim == "recipes" else 1
    return {
        "name": arm.name or arm.folder,
        "edition": arm.edition,
        "pictures": pictures,
        "epochs": taken / (pictures * share),
    }


def _reference(planned: Planned, tables: Mapping[str, Sequence[pa.Table]]) -> dict[str, Any]:
    trained = planned.trained
    words = (
        f"of {planned.arms[GIVEN].name or planned.arms[GIVEN].folder}"
        if GIVEN in planned.arms
        else "held out of both arms by a hash of their ids"
    )
    told = of_part(tables["a"][0], TRAINED)
    return {
        "pictures": len(of_part(tables["a"][0], REFERENCE).ids),
        "words": words,
        "note": ". ".join(planned.notes) and ". ".join(planned.notes) + ".",
        "memorised": {
            "pictures": len(told.ids),
            "read_on": "pictures of one arm alone, by both arms"
            if trained.crossed
            else "pictures of both arms, against the reference",
        },
    }


def _groups(planned: Planned) -> dict[str, dict[str, str]]:
    """Groups of reference pictures by what is known of them."""
    rows = planned.pictures.filter(planned.pictures.column(REFERENCE)).to_pylist()
    found: dict[str, dict[str, str]] = {"size": {}, "words of the caption": {}}
    for row in rows:
        found["size"][row["id"]] = f"{row['width']} x {row['height']}"
        words = len(row["caption"].split())
        found["words of the caption"][row["id"]] = next(
            name
            for most, name in ((0, "none"), (8, "1 to 8"), (24, "9 to 24"), (1e9, "more"))
            if words <= most
        )
    if len({row["read_from"] for row in rows}) > 1:
        found["set it is read from"] = {row["id"]: row["read_from"] for row in rows}
    return found


def _metrics(out: Path, arm: str, count: int) -> list[list[dict[str, Any]]]:
    """Lines of the steps of each replicate."""
    found = []
    for number in range(count):
        path = RunSpec(str(out), arm, number).folder / "metrics.jsonl"
        lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        found.append([line for line in lines if "loss" in line])
    return found


def _summary(out: Path) -> dict[str, Any]:
    path = RunSpec(str(out), "a", 0).folder / "summary.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _write_losses(out: Path, tables: Mapping[str, Sequence[pa.Table]]) -> None:
    """Every loss of every run in one table."""
    every = []
    for arm, of in tables.items():
        for number, table in enumerate(of):
            rows = table.num_rows
            table = table.add_column(0, "replicate", pa.array([number] * rows, pa.int16()))
            every.append(table.add_column(0, "arm", pa.array([arm] * rows)))
    pq.write_table(pa.concat_tables(every), out / LOSSES, compression="zstd")

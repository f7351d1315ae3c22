"""A comparison of two training sets, from plan to sentence.

    found = compare(Arm("sets/a/1f.."), Arm("sets/b/20.."), Path("out"))
    found["sentence"]   # "B is better: captions carry 31 % more (27 to 35), ...; 6 seeds ..."

| file in `out` | content |
|---|---|
| `plan.json`, `pictures.parquet` | what is compared, and on which pictures |
| `runs/a-000/` | arm A, seed 0: the output of `quick_train`, and `losses.parquet` |
| `losses.parquet` | every loss of every run, by arm, replicate, picture and bin |
| `verdict.json` | the findings, without wall-clock times: a repetition gives the same bytes |
| `timings.json` | how long the runs took, and the forecast |
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.errors import RequestError
from nucleus_model.settings.verdict import VerdictSettings
from nucleus_model.training.verdict.collect import replicates
from nucleus_model.training.verdict.content import are_equal, are_pairs, found_in
from nucleus_model.training.verdict.findings import JOINT
from nucleus_model.training.verdict.forecast import forecast
from nucleus_model.training.verdict.loops import Loop, processes
from nucleus_model.training.verdict.plan import Arm, Planned, plan_comparison
from nucleus_model.training.verdict.power import said
from nucleus_model.training.verdict.replicates import pilot_deviation, stein
from nucleus_model.training.verdict.run import LOSSES, RunSpec, read_plan, replace_file, write_plan
from nucleus_model.training.verdict.timing import note_forecast, timed

VERDICT = "verdict.json"
Progress = Callable[[int, int], None]
Tell = Callable[[str], None]


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
    tell: Tell | None = None,
    workers: int | None = None,
) -> dict[str, Any]:
    """Compares two training sets; continues a killed comparison in `out`.

    Args:
        a: The baseline.
        b: The set to judge.
        out: Local output folder.
        settings: The comparison's settings; by default six pairs of nano runs, and a claim about
            these two sets.
        reference: The set to evaluate on; None to hold pictures out of both sets.
        clusters: Id -> cluster of duplicates, for a claim about recipes.
        loop: Executes the runs; None for processes, one per core.
        progress: Called with the number of finished runs, and of all runs.
        tell: Called with lines for people before the first run: which difference the comparison
            can detect, and how long it will take. Some steps are timed for this only if it is
            given.
        workers: Number of processes of `loop`, for the forecast; None for one per core.

    Returns:
        The content of `verdict.json`.

    Raises:
        CorpusError: A set is damaged or incomplete.
        RequestError: The sets can't be compared, or `out` holds another comparison.
    """
    settings = settings or VerdictSettings()
    planned = plan_comparison(a, b, settings, reference, clusters)
    _pin(planned, out)
    options = {name: arm.storage_options for name, arm in planned.arms.items()}
    loop = loop or processes()
    count, pilot, pairs = settings.replicates, None, are_pairs(planned)
    specs = _specs(out, options, 0, count)
    if tell is not None:
        equal = are_equal(planned)
        tell(said(settings.trains, equal=equal, pairs=pairs, replicates=count))
        if any(not spec.done for spec in specs):
            expected = forecast(planned, workers)
            note_forecast(out, expected.to_json())
            tell(expected.sentence())
    _run(out, options, 0, count, loop, progress)
    tables = _tables(out, count)
    if settings.half_width is not None:
        # Only the pilot's deviation may decide how many replicates follow, not its means.
        pilot, values = count, replicates(tables, planned.memory)
        deviation = pilot_deviation(values["a"]["loss"], values["b"]["loss"], pairs=pairs)
        # At the level at which the interval is reported.
        count = stein(deviation, pilot, settings.half_width, settings.most, JOINT)
        _run(out, options, pilot, count, loop, progress)
        tables = _tables(out, count)
    content = found_in(planned, out, tables, pilot)
    _write_losses(out, tables)
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    replace_file(out / VERDICT, lambda path: path.write_text(text, encoding="utf-8"))
    return content


def _pin(planned: Planned, out: Path) -> None:
    """Writes the plan, or checks that the folder already has the same one."""
    try:
        existing = read_plan(out)
    except FileNotFoundError:
        write_plan(planned, out)
        return
    if existing.pin() != planned.pin() or not existing.pictures.equals(planned.pictures):
        raise RequestError(
            f"{out} holds another comparison ({_difference(existing, planned)}); give another "
            "folder with --out"
        )


def _difference(existing: Planned, planned: Planned) -> str:
    """Describes how two comparisons differ."""
    before, now = existing.pin(), planned.pin()
    settings = [
        f"{name}: {before['settings'].get(name)} there, {value} here"
        for name, value in now["settings"].items()
        if before["settings"].get(name) != value
    ]
    sets = [
        f"another set {name.upper()}" if len(name) == 1 else f"another {name}"
        for name in sorted({*before["digests"], *now["digests"]})
        if before["digests"].get(name) != now["digests"].get(name)
    ]
    return ", ".join([*sets, *settings]) or "of other pictures"


def _specs(
    out: Path, options: Mapping[str, Mapping[str, Any]], first: int, end: int
) -> list[RunSpec]:
    """Returns the runs of both arms for the replicates in [first, end)."""
    return [RunSpec(str(out), arm, n, options) for n in range(first, end) for arm in ("a", "b")]


def _run(
    out: Path,
    options: Mapping[str, Mapping[str, Any]],
    first: int,
    end: int,
    loop: Loop,
    progress: Progress | None,
) -> None:
    """Executes the missing runs of the replicates in [first, end)."""
    specs = _specs(out, options, first, end)
    waiting = [spec for spec in specs if not spec.done]
    done = 2 * first + len(specs) - len(waiting)
    if progress is not None:
        progress(done, 2 * end)
    with timed(out, len(waiting)):
        for _ in loop(waiting):
            done += 1
            if progress is not None:
                progress(done, 2 * end)


def _tables(out: Path, count: int) -> dict[str, list[pa.Table]]:
    """Reads the runs' losses, by arm and replicate."""
    return {
        arm: [pq.read_table(RunSpec(str(out), arm, n).folder / LOSSES) for n in range(count)]
        for arm in ("a", "b")
    }


def _write_losses(out: Path, tables: Mapping[str, Sequence[pa.Table]]) -> None:
    """Writes the losses of all runs as one table."""
    every = []
    for arm, of in tables.items():
        for number, table in enumerate(of):
            rows = table.num_rows
            table = table.add_column(0, "replicate", pa.array([number] * rows, pa.int16()))
            every.append(table.add_column(0, "arm", pa.array([arm] * rows)))
    whole = pa.concat_tables(every)
    replace_file(out / LOSSES, lambda path: pq.write_table(whole, path, compression="zstd"))

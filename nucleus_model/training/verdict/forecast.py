"""Forecasts how long a comparison will take, by timing short runs on this machine.

    found = forecast(planned)
    found.processor_seconds   # of all runs; within a fifth of what they take

A run's time consists of a fixed cost, a cost per training picture, and a cost per evaluated
picture. Short runs that differ in only one of these give each cost. They run in a process of their
own, as in a worker, and are thrown away.
"""

import os
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_model.data.exact import exact_epoch
from nucleus_model.settings import verdict as presets
from nucleus_model.training.verdict.collect import REFERENCE
from nucleus_model.training.verdict.loops import end_with, one_by_one
from nucleus_model.training.verdict.plan import Planned
from nucleus_model.training.verdict.run import BATCH, RunSpec, told_apart, write_plan

SHORT, LONG = 1, 6  # steps
# Evaluated pictures of the reference, and as many others; a whole batch more, as smaller ones cost
# more per picture.
FEW, MANY = 2, 2 + BATCH
PASSES = 3  # per reference picture: with its caption, another's, and none; other pictures need one
REPLICATE = 9  # not one of the first replicates, which also draw samples


@dataclass(frozen=True)
class Costs:
    """Costs in seconds of CPU time.

    Attributes:
        process: Cost of starting a process, once.
        opened: Additional cost of an arm's first run in a process, by arm.
        run: Fixed cost of a run.
        trained: Cost of one training picture, by arm.
        measured: Cost of evaluating one picture with one caption.
    """

    process: float
    opened: Mapping[str, float]
    run: float
    trained: Mapping[str, float]
    measured: float


@dataclass(frozen=True)
class Forecast:
    """The forecast CPU time of a comparison.

    Attributes:
        runs: Number of runs, of both arms together.
        processor_seconds: CPU time of all runs, and of starting their processes.
        most_runs: Number of runs if all replicates that `half_width` allows are needed.
        most_processor_seconds: CPU time in that case.
        costs: The costs that this is based on.
    """

    runs: int
    processor_seconds: float
    most_runs: int
    most_processor_seconds: float
    costs: Costs

    def to_json(self) -> dict[str, Any]:
        """Returns the forecast as it is stored in `timings.json`."""
        return asdict(self)

    def sentence(self) -> str:
        """Returns a line for people."""
        text = (
            f"{self.runs} runs will take {_minutes(self.processor_seconds)} of processor time, "
            f"{self.processor_seconds / self.runs:.0f} s each"
        )
        if self.most_runs > self.runs:
            text += (
                f"; all {self.most_runs} runs that the half-width may require would take "
                f"{_minutes(self.most_processor_seconds)}"
            )
        return text


def forecast(planned: Planned, workers: int | None = None) -> Forecast:
    """Times short runs of both arms, which takes as long as a quarter of a run.

    Args:
        planned: The comparison.
        workers: Number of processes that will execute the runs; None for one per core.

    Raises:
        As `quick_train` does.
    """
    settings = planned.settings
    # A new process, not forked: this one may have imported torch and started threads.
    spawn = get_context("spawn")
    with ProcessPoolExecutor(1, spawn, end_with, (os.getpid(),)) as pool:
        costs = pool.submit(_timed, planned).result()
    a_pair = sum(
        _of_run(costs, arm, pictures_taken(planned), passes(planned)) for arm in ("a", "b")
    )
    most = settings.replicates if settings.half_width is None else settings.most
    begun = min(workers or os.cpu_count() or 1, 2 * settings.replicates)
    # A single worker executes its runs in the calling process.
    started = costs.process if begun > 1 else 0.0
    once = begun * (started + sum(costs.opened.values()))
    return Forecast(
        2 * settings.replicates,
        settings.replicates * a_pair + once,
        2 * most,
        most * a_pair + once,
        costs,
    )


def pictures_taken(planned: Planned) -> int:
    """Counts the training pictures of a run, with repetition.

    It may be less than steps x batch size, since a bucket's last batch of an epoch may be smaller.
    """
    training, order = planned.settings.training(0), planned.order(0)
    buckets, of = np.unique(order.sizes, axis=0, return_inverse=True)
    sizes: list[int] = []
    epoch = 0
    while len(sizes) < training.steps:
        planned_epoch = exact_epoch(
            order.ids, of.ravel(), [training.batch_size] * len(buckets), seed=0, epoch=epoch
        )
        sizes += np.diff(planned_epoch.ends, prepend=0).tolist()
        epoch += 1
    return sum(sizes[: training.steps])


def passes(planned: Planned) -> int:
    """Counts the evaluations (of one picture with one caption) in a run."""
    reference: int = pc.sum(planned.pictures.column(REFERENCE)).as_py()
    return PASSES * reference + int(pc.sum(told_apart(planned.pictures)).as_py())


def _of_run(costs: Costs, arm: str, pictures: int, measured: int) -> float:
    return costs.run + pictures * costs.trained[arm] + measured * costs.measured


def _timed(planned: Planned) -> Costs:
    """Measures the costs. Changes the presets, so it must run in a process of its own."""
    process = time.process_time()
    few, many = (_fewer(planned, count) for count in (FEW, MANY))
    with TemporaryDirectory(prefix="nucleus-forecast-") as folder:
        options = {name: arm.storage_options for name, arm in planned.arms.items()}
        small = _Small(Path(folder), options)
        # An arm's first run in a process opens its set; later runs reuse it.
        first = {arm: small.run(few, arm, SHORT) for arm in ("a", "b")}
        again = {arm: small.run(few, arm, SHORT) for arm in ("a", "b")}
        longer = {arm: small.run(few, arm, LONG) for arm in ("a", "b")}
        measured = small.run(many, "a", SHORT) - again["a"]
    batch = planned.settings.training(0).batch_size
    trained = {arm: max(0.0, longer[arm] - again[arm]) / ((LONG - SHORT) * batch) for arm in again}
    a_pass = max(0.0, measured) / max(1, passes(many) - passes(few))
    run = [again[arm] - SHORT * batch * trained[arm] - passes(few) * a_pass for arm in again]
    return Costs(
        process,
        {arm: max(0.0, first[arm] - again[arm]) for arm in first},
        max(0.0, sum(run) / len(run)),
        trained,
        a_pass,
    )


class _Small:
    """Executes short runs one after the other, as a worker does.

    Args:
        folder: Temporary folder for them.
        options: Arm -> options for fsspec.
    """

    def __init__(self, folder: Path, options: Mapping[str, Mapping[str, Any]]) -> None:
        self.folder, self.options = folder, options
        self.specs: list[RunSpec] = []
        # This generator also executes runs that are appended later, and keeps sets open.
        self.runs = one_by_one(self.specs)

    def run(self, planned: Planned, arm: str, steps: int) -> float:
        """Executes a run of `steps` steps, and returns its CPU time in seconds."""
        out = self.folder / str(len(self.specs))
        write_plan(planned, out)
        preset = planned.settings.preset
        presets.FIXED[preset] = {**presets.FIXED[preset], "steps": steps}
        self.specs.append(RunSpec(str(out), arm, REPLICATE, self.options))
        begun = time.process_time()
        next(self.runs)
        return time.process_time() - begun


def _fewer(planned: Planned, count: int) -> Planned:
    """Returns the comparison with only `count` evaluated pictures of each part."""
    pictures = planned.pictures
    reference = pictures.column(REFERENCE).to_numpy()
    others = told_apart(pictures).to_numpy(zero_copy_only=False)
    # A reference picture may also be one for memorisation, and is then dropped as both.
    kept = np.concatenate([np.flatnonzero(mask)[:count] for mask in (reference, others)])
    dropped = np.setdiff1d(np.flatnonzero(reference | others), kept)
    for name, value in ((REFERENCE, False), ("memory", None)):
        column = pictures.column(name).to_pylist()
        for place in dropped.tolist():
            column[place] = value
        array = pa.array(column, pictures.schema.field(name).type)
        pictures = pictures.set_column(pictures.schema.get_field_index(name), name, array)
    return replace(planned, pictures=pictures)


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"

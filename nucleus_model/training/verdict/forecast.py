"""What a comparison will take, before its first run: small runs of it are timed on this machine.

    found = forecast(planned)
    found.processor_seconds   # of all runs; within a fifth of what they take

A run's time is made of what it costs to begin, of pictures that are trained on, and of pictures
that are measured. Small runs that differ in one of these tell what each costs. They are done in a
process of their own, as a worker does its runs, and thrown away.
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
from nucleus_model.training.verdict.loops import one_by_one
from nucleus_model.training.verdict.plan import Planned
from nucleus_model.training.verdict.run import RunSpec, told_apart, write_plan

SHORT, LONG = 2, 12  # steps
FEW, MANY = 8, 40  # pictures that are measured
PASSES = 3  # of a reference picture: with its caption, another's and none; of others one
REPLICATE = 9  # none of the first: those may do more than others


@dataclass(frozen=True)
class Costs:
    """What runs are made of, in seconds of one processor.

    Attributes:
        process: Of starting a process, once.
        opened: Of an arm's first run in a process, beyond a later one, by arm.
        run: Of a run, whatever it trains on.
        trained: Of training on one picture once, by arm.
        measured: Of measuring one picture with one caption.
    """

    process: float
    opened: Mapping[str, float]
    run: float
    trained: Mapping[str, float]
    measured: float


@dataclass(frozen=True)
class Forecast:
    """What a comparison's runs will take.

    Attributes:
        runs: How many, of both arms together.
        processor_seconds: Of all of them, and of starting what does them.
        most_runs: The same, if all replicates that `half_width` may ask for are needed.
        most_processor_seconds: Of these.
        costs: What it was calculated from.
    """

    runs: int
    processor_seconds: float
    most_runs: int
    most_processor_seconds: float
    costs: Costs

    def to_json(self) -> dict[str, Any]:
        """As `timings.json` has it."""
        return asdict(self)

    def sentence(self) -> str:
        """For people, in a line."""
        text = (
            f"{self.runs} runs will take {_minutes(self.processor_seconds)} of processor time, "
            f"{self.processor_seconds / self.runs:.0f} s each"
        )
        if self.most_runs > self.runs:
            text += (
                f"; with all {self.most_runs} that the half-width may ask for "
                f"{_minutes(self.most_processor_seconds)}"
            )
        return text


def forecast(planned: Planned, workers: int | None = None) -> Forecast:
    """Times small runs of both arms; some ten seconds.

    Args:
        planned: The comparison.
        workers: How many processes will do the runs; None for one a core.

    Raises:
        As `quick_train` does.
    """
    settings = planned.settings
    # Not forked, and not this one: it may have torch already, and threads.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        costs = pool.submit(_timed, planned).result()
    a_pair = sum(
        _of_run(costs, arm, pictures_taken(planned), passes(planned)) for arm in ("a", "b")
    )
    most = settings.replicates if settings.half_width is None else settings.most
    begun = min(workers or os.cpu_count() or 1, 2 * settings.replicates)
    # One alone does its runs in the process that asks.
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
    """How many pictures a run trains on, those that come again counted again.

    A bucket's last batch of an epoch is smaller, so that it is less than steps x batch size.
    """
    training, order = planned.settings.training(0), planned.order(0)
    buckets, of = np.unique(order.sizes, axis=0, return_inverse=True)
    sizes: list[int] = []
    epoch = 0
    while len(sizes) < training.steps:
        found = exact_epoch(
            order.ids, of.ravel(), [training.batch_size] * len(buckets), seed=0, epoch=epoch
        )
        sizes += np.diff(found.ends, prepend=0).tolist()
        epoch += 1
    return sum(sizes[: training.steps])


def passes(planned: Planned) -> int:
    """How often a picture is measured with a caption, in a run."""
    reference: int = pc.sum(planned.pictures.column(REFERENCE)).as_py()
    return PASSES * reference + int(pc.sum(told_apart(planned.pictures)).as_py())


def _of_run(costs: Costs, arm: str, pictures: int, measured: int) -> float:
    return costs.run + pictures * costs.trained[arm] + measured * costs.measured


def _timed(planned: Planned) -> Costs:
    """What runs are made of; in a process of its own, whose presets it changes."""
    process = time.process_time()
    few, many = (_fewer(planned, count) for count in (FEW, MANY))
    with TemporaryDirectory(prefix="nucleus-forecast-") as folder:
        options = {name: arm.storage_options for name, arm in planned.arms.items()}
        small = _Small(Path(folder), options)
        # The first of an arm opens its set, and later ones of the process need not.
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
    """Does small runs, one after the other, as one worker does.

    Args:
        folder: Where.
        options: Arm -> options for fsspec.
    """

    def __init__(self, folder: Path, options: Mapping[str, Mapping[str, Any]]) -> None:
        self.folder, self.options = folder, options
        self.specs: list[RunSpec] = []
        # It takes what is appended while it goes, and keeps what it opened.
        self.runs = one_by_one(self.specs)

    def run(self, planned: Planned, arm: str, steps: int) -> float:
        """Seconds of the processor that a run of so many steps takes."""
        out = self.folder / str(len(self.specs))
        write_plan(planned, out)
        preset = planned.settings.preset
        presets.FIXED[preset] = {**presets.FIXED[preset], "steps": steps}
        self.specs.append(RunSpec(str(out), arm, REPLICATE, self.options))
        begun = time.process_time()
        next(self.runs)
        return time.process_time() - begun


def _fewer(planned: Planned, count: int) -> Planned:
    """The comparison with fewer measured pictures."""
    pictures = planned.pictures
    reference = np.flatnonzero(pictures.column(REFERENCE).to_numpy())[count:]
    memory = np.flatnonzero(told_apart(pictures).to_numpy())[count:]
    found = {}
    for name, dropped in ((REFERENCE, reference), ("memory", memory)):
        column = pictures.column(name).to_pylist()
        for place in dropped.tolist():
            column[place] = False if name == REFERENCE else None
        found[name] = pa.array(column, pictures.schema.field(name).type)
    for name, column in found.items():
        pictures = pictures.set_column(pictures.schema.get_field_index(name), name, column)
    return replace(planned, pictures=pictures)


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"

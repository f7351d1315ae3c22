"""Runs of many sets at two lengths, and in how many pairs of sets both lengths say the same.

A run is `quick_train` with the fixed settings of a verdict's preset, but for the number of steps,
which a comparison does not let anybody choose; and its losses on the yardstick, its last file. All
sets hold the same ids, so that all runs of a seed meet the same pictures in the same places.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nucleus_model.checkpoints.saved import load_saved
from nucleus_model.data.latents import Latents
from nucleus_model.settings.verdict import PresetName, VerdictSettings
from nucleus_model.training.determinism import deterministic
from nucleus_model.training.holdout import best_caption
from nucleus_model.training.train import quick_train
from nucleus_model.training.verdict.measures import (
    HIGH,
    LOW,
    asked,
    measure,
)
from nucleus_model.training.verdict.plan import Arm
from scripts.cases.making import CHOOSING, Line, texts_of
from scripts.cases.pictures import spoiled, truth, world
from scripts.cases.texts import swapped

LOSSES = "losses.parquet"
BATCH, MOST = 32, 160  # pictures that are measured at once, and in all
CLEAN, OTHER = 30, 31  # seeds of the worlds
# Spoiled pictures: fault, strength, share.
SPOILED = {
    "blurred": ("blurred", 1, 0.5),
    "blurred_more": ("blurred", 2, 0.5),
    "watermarked": ("watermarked", 2, 0.5),
}
SWAPPED = {"swapped_10": 0.1, "swapped_30": 0.3}
SETS = ("clean", *SWAPPED, "very_short", *SPOILED)
MEASURES = {"loss": -1, "low_sigma": -1, "high_sigma": -1, "caption_gap": 1, "empty_gap": 1}
ANY = ("select.rules={}", "select.drop_duplicates=false")  # so that all sets hold the same ids
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        folder: Of all runs.
        name: Of the set.
        arm, yardstick: The set, and what it is measured on.
        preset: Whose settings.
        steps: How many.
        seed: Its seed.
    """

    folder: str
    name: str
    arm: Arm
    yardstick: Arm
    preset: PresetName
    steps: int
    seed: int

    @property
    def out(self) -> Path:
        """Where it lies."""
        return Path(self.folder) / f"{self.name}-{self.steps:04d}-{self.seed}"

    @property
    def done(self) -> bool:
        """Whether it has been measured."""
        return (self.out / LOSSES).is_file()


def made_sets(
    out: Path, pictures: int, yardstick: int, names: Sequence[str] = SETS
) -> tuple[dict[str, Arm], Arm]:
    """The sets, and the yardstick.

    Args:
        out: Folder; what is there is not made again.
        pictures: Of each set.
        yardstick: Pictures of the yardstick.
        names: Which sets; `clean` is always made.

    Raises:
        RuntimeError: They do not hold the same ids.
    """
    clean = world(out / "clean", pictures, CLEAN)
    told = truth(clean, "medium")
    line = _line(out, "clean", clean, told)
    arms = {"clean": line.shard("told", "clean")}
    by_id = texts_of(arms["clean"])
    for name in names:
        if name in SWAPPED:
            line.import_texts(name, swapped(by_id, SWAPPED[name]))
            arms[name] = line.shard(name)
        elif name in SPOILED:
            altered = spoiled(clean, out / name, *SPOILED[name])
            arms[name] = _line(out, name, altered, told).shard("told", name)
        elif name == "very_short":
            line.import_texts(name, truth(clean, name), by="key")
            arms[name] = line.shard(name)
    for name, arm in arms.items():
        if texts_of(arm).keys() != by_id.keys():
            raise RuntimeError(f"{name} has other pictures than clean, so that no seeds are pairs")
    other = world(out / "other", yardstick, OTHER)
    measured = _line(out, "other", other, truth(other, "medium"), "ingest.name=other")
    return arms, measured.shard("told", "yardstick")


def _line(
    out: Path, name: str, pictures: Path, told: Mapping[str, str], source: str = "ingest.name=world"
) -> Line:
    line = Line(out / f"{name}-corpus", overrides=(source, *ANY))
    line.run(*CHOOSING, source=pictures)
    line.import_texts("told", told, by="key")
    return line


def do_run(run: Run) -> None:
    """Trains and measures, unless that is done."""
    if run.done:
        return
    settings = VerdictSettings(preset=run.preset)
    # Checkpoints, so that a long run that was killed goes on.
    training = settings.training(run.seed, ("a red circle",)).model_copy(
        update={"edition": run.arm.edition, "steps": run.steps, "checkpoint_every": 100}
    )
    summary = quick_train(run.arm.folder, run.out, training)
    with deterministic(1, "cpu", run.seed):
        saved, opened = load_saved(run.out / summary["checkpoint"]), run.yardstick.open(settings)
        samples = sorted(opened.samples, key=lambda sample: sample.id)[:MOST]
        captions = asked({sample.id: best_caption(sample) for sample in samples})
        table = measure(
            saved.model, saved.text, Latents(saved.codec), opened, samples, BATCH, captions
        )
    part = run.out / f".{LOSSES}"
    pq.write_table(table.to_arrow(), part)
    part.replace(run.out / LOSSES)


def values_of(run: Run) -> dict[str, float]:
    """The measures of a run that is done."""
    table = pq.read_table(run.out / LOSSES)
    true, shuffled, empty, sigma = (
        table.column(name).to_numpy() for name in ("true", "shuffled", "empty", "sigma")
    )
    return {
        "loss": float(true.mean()),
        "low_sigma": float(true[sigma < LOW].mean()),
        "high_sigma": float(true[sigma > HIGH].mean()),
        "caption_gap": float((shuffled - true).mean()),
        "empty_gap": float((empty - true).mean()),
    }


@dataclass(frozen=True)
class Alike:
    """In how many pairs of sets two lengths say which set is the better one, and say the same.

    Attributes:
        measure: By which measure.
        pairs: Of sets.
        share: Of the pairs that are ordered alike.
        low, high: Of 95 % of draws of sets, with replacement.
        order: The sets, the best first, at each length.
        values: Set -> mean over seeds, at each length.
    """

    measure: str
    pairs: int
    share: float
    low: float
    high: float
    order: tuple[list[str], list[str]]
    values: Mapping[str, tuple[float, float]]


def alike(
    measure: str, better: int, values: Mapping[str, tuple[float, float]], draws: int = 10_000
) -> Alike:
    """Counts the pairs of sets that both lengths order alike.

    Args:
        measure: Name of the measure.
        better: +1 where larger values are better, else -1.
        values: Set -> its mean over seeds at the short length, and at the long one.
        draws: Of sets. Pairs share sets, so that sets are drawn, and never pairs.
    """
    names = list(values)
    table = np.array([values[name] for name in names])
    same = np.array(
        [[_same(one, other) for other in table] for one in table]
    )  # of a set with itself it means nothing, and is never counted
    rng = np.random.default_rng(0)
    found = [
        share
        for drawn in rng.integers(len(names), size=(draws, len(names)))
        if (share := _share(same, drawn)) is not None
    ]
    low, high = np.quantile(found, [0.025, 0.975])
    orders = [[names[n] for n in np.argsort(-better * table[:, side])] for side in (0, 1)]
    whole = _share(same, np.arange(len(names)))
    assert whole is not None, "two sets at least"
    pairs = len(names) * (len(names) - 1) // 2
    return Alike(
        measure, pairs, whole, float(low), float(high), (orders[0], orders[1]), dict(values)
    )


def _same(one: Numbers, other: Numbers) -> bool:
    return bool(np.sign(one[0] - other[0]) == np.sign(one[1] - other[1]))


def _share(same: NDArray[np.bool_], drawn: NDArray[np.int64]) -> float | None:
    """The share of pairs of other sets among those drawn; None if one set alone was drawn."""
    found = [same[i, j] for i, j in combinations(drawn.tolist(), 2) if i != j]
    return float(np.mean(found)) if found else None


def ordered(runs: Sequence[Run]) -> list[Alike]:
    """What the runs say, by each measure."""
    short, long = sorted({run.steps for run in runs})
    tables = [(run, values_of(run)) for run in runs]
    found = []
    for measure_name, better in MEASURES.items():
        means = {
            name: tuple(
                float(np.mean([v[measure_name] for r, v in tables if (r.name, r.steps) == key]))
                for key in ((name, short), (name, long))
            )
            for name in dict.fromkeys(run.name for run in runs)
        }
        pairs = {name: (one, other) for name, (one, other) in means.items()}
        found.append(alike(measure_name, better, pairs))
    return found


def as_json(found: Sequence[Alike]) -> list[dict[str, object]]:
    """What is kept of it."""
    return [asdict(each) for each in found]

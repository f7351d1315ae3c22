"""Compares Muon with AdamW, and merging with decay, by loss curves on the same pictures.

    python -m scripts.bench_learning --out learning           # makes the training set
    python scripts/bench_optimizers.py learning/true --charts nucleus_model/docs
    python scripts/bench_optimizers.py --quick learning/true

All runs train the nano transformer with the settings of configs/nano/learning.yaml, except for
fewer steps with a quarter of the pictures, and the settings that a row names. Each optimizer is
tried with three learning rates, from the same initial weights, with the same batches and noise. The
held-out loss is that of 64 pictures that no run trains on, with fixed noise; each row is the final
value of one run. For Warmup-Stable-Merge, another run uses Muon's middle rate without decay, and
its last checkpoints are merged in each way; Muon's row with that rate is the decayed counterpart.
"""

import os
import sys

os.environ["OMP_NUM_THREADS"] = "1"

import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from nucleus_data.line.recipe import load_recipe
from nucleus_data.pages.charts.line_chart import Series, line_chart
from nucleus_model.checkpoints.merge import merge_checkpoints
from nucleus_model.checkpoints.resume import Checkpoints, load_weights
from nucleus_model.network.distributed import World
from nucleus_model.settings.schedule import merge_weights
from nucleus_model.settings.settings import QuickTrainSettings
from nucleus_model.training.run_parts import RunParts
from nucleus_model.training.train import quick_train
from scripts.benchmark import Measure, measure, parser, publish

RECIPE = Path(__file__).resolve().parents[1] / "configs/nano/learning.yaml"
RATES = {"adamw": (1e-3, 3e-3, 9e-3), "muon": (3e-3, 8e-3, 2e-2)}
MIDDLE = 8e-3
CONSTANT = f"muon, constant rate {MIDDLE:g}"
MERGES = ("inverse_sqrt", "uniform", "one_minus_sqrt")
# A standalone SVG file has no style sheet.
STYLE = (
    "<style>text{font:12px sans-serif;fill:#555}.label{font-weight:600}.axis{stroke:#999;fill:none}"
    ".grid{stroke:#ddd}.line{fill:none;stroke-width:2}.mark{stroke:none}"
    + "".join(
        f".c{number}{{stroke:{colour}}}.mark.c{number}{{fill:{colour}}}"
        for number, colour in enumerate(("#1b8a68", "#d9692b", "#5b83d6", "#9b7fc4", "#cf4a41"))
    )
    + "</style>"
)


@dataclass(frozen=True)
class Size:
    """The size of the benchmark.

    Attributes:
        steps: Steps of each run.
        batch: Pictures per step.
        merged: Number of checkpoints in a merge.
        every: Steps between these checkpoints.
    """

    steps: int = 600
    batch: int = 32
    merged: int = 16
    every: int = 20


QUICK = Size(steps=12, batch=4, merged=2, every=4)

Curve = list[tuple[float, float]]


@dataclass(frozen=True)
class Ran:
    """The result of one training.

    Attributes:
        curve: Steps and held-out losses.
        merged: Held-out losses of merged weights by the kind of merge, if the schedule merges.
    """

    curve: Curve
    merged: Mapping[str, float]


def run(folder: Path, settings: QuickTrainSettings, out: Path) -> Ran:
    """Trains on the set below a folder of `bench_learning`."""
    (manifest,) = folder.glob("corpus/sets/learning/*/manifest.parquet")
    summary = quick_train(str(manifest.parent), out, settings)
    curve = [(float(line["step"]), line["holdout_loss"]) for line in summary["holdout"]]
    if settings.schedule != "warmup_stable_merge":
        return Ran(curve, {})
    parts = RunParts(str(manifest.parent), settings, None, World())
    chosen = Checkpoints(out / "checkpoints", settings.merge_last).all()[-settings.merge_last :]
    merged = {}
    for kind in MERGES:
        merge_checkpoints(chosen, merge_weights(kind, len(chosen)), out / kind)
        load_weights(out / kind, parts.model)
        measured = parts.measure(0, settings.steps)
        assert measured is not None
        merged[kind] = measured["holdout_loss"]
    return Ran(curve, merged)


def bench(folder: Path, work: Path, size: Size, charts: Path | None) -> list[Measure]:
    """Runs all trainings, draws the charts if there is a folder for them, and returns the rows."""
    base = load_recipe(RECIPE, [f"corpus={folder}"]).quick_train
    shared: dict[str, Any] = {
        "steps": size.steps,
        "batch_size": size.batch,
        "sample": 0.25,
        "holdout_limit": 64,
        "holdout_times": 12,
        "checkpoint_every": size.every,
        "sample_every": 0,
        "sample_rows": 1,
        "sample_seeds": (0,),
        "sample_steps": 1,
    }
    variants: dict[str, Mapping[str, Any]] = {
        f"{kind}, rate {rate:g}": {"optimizer": kind, "lr": rate}
        for kind, rates in RATES.items()
        for rate in rates
    }
    variants[CONSTANT] = {
        "optimizer": "muon",
        "lr": MIDDLE,
        "schedule": "warmup_stable_merge",
        "merge_last": size.merged,
    }
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        jobs = {
            name: pool.submit(
                run, folder, base.model_copy(update=shared | dict(changed)), work / name
            )
            for name, changed in variants.items()
        }
        ran = {}
        for name, job in jobs.items():
            ran[name] = job.result()
            print(f"{time.strftime('%H:%M:%S')} {name}", file=sys.stderr, flush=True)
    if charts is not None:
        draw(charts, ran)
    rows = [measure(f"{name}: held-out loss", [one.curve[-1][1]], "") for name, one in ran.items()]
    rows += [
        measure(f"{CONSTANT}, merged {kind}: held-out loss", [loss], "")
        for kind, loss in ran[CONSTANT].merged.items()
    ]
    return rows


def draw(folder: Path, ran: Mapping[str, Ran]) -> None:
    """Draws two charts: each optimizer with its best rate, and the schedules."""
    folder.mkdir(parents=True, exist_ok=True)
    best = {
        kind: min(
            (name for name in ran if name.startswith(f"{kind},")),
            key=lambda name: ran[name].curve[-1][1],
        )
        for kind in RATES
    }
    chart(folder / "optimizers.svg", {name: ran[name].curve for name in best.values()})
    constant = ran[CONSTANT]
    end = constant.curve[-1][0]
    curves = {"decayed": ran[f"muon, rate {MIDDLE:g}"].curve, "constant": constant.curve}
    curves |= {kind: [(end, loss)] for kind, loss in constant.merged.items()}
    chart(folder / "merging.svg", curves)


def chart(file: Path, curves: Mapping[str, Curve]) -> None:
    """Draws a standalone SVG, without the first measurement, which is much higher."""
    series = [
        Series(name, curve[1:] if len(curve) > 1 else curve, f"c{number}")
        for number, (name, curve) in enumerate(curves.items())
    ]
    svg = str(line_chart(series, "steps", "held-out loss"))
    svg = svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    file.write_text(svg.replace(">", f">{STYLE}", 1) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark, and returns the exit code."""
    options = parser(__doc__)
    options.add_argument("--charts", type=Path, metavar="FOLDER", help="draw curves into it")
    options.add_argument("folder", type=Path, help="of bench_learning's --out: learning/true")
    chosen = options.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-optimizers-") as work:
        size = QUICK if chosen.quick else Size()
        measures = bench(chosen.folder.resolve(), Path(work), size, chosen.charts)
    publish(measures, chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Measures whether the nano transformer learns from captions: a checker judges what it draws.

    python scripts/bench_learning.py --out learning           # some 25 minutes on two cores
    python scripts/bench_learning.py --quick --json learning.json

12,000 pictures of the world's core scenes with their true captions go through the line
(ingest, inspect, dedup, select, shard), once as they are and once with every caption at another
picture. A transformer is trained on each with the settings of configs/nano/learning.yaml, both at
once, a core each. Each then draws 200 fixed prompts from fixed seeds
(nucleus_data/world/prompts.jsonl), single objects that no training picture shows alone, and
`nucleus_data.world.object_detection` says which shapes it finds in the pictures. One run, no
picking: the last checkpoint counts.

`--out` keeps the corpora, the trainings and a grid of each (`true.png`, `shuffled.png`).
"""

import os
import sys

os.environ["OMP_NUM_THREADS"] = "1"

import json
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from nucleus_data.line.lines import run_line
from nucleus_data.line.recipe import load_recipe
from nucleus_data.stages.train.stage import Train
from nucleus_data.world.image_scoring import ImageScore
from nucleus_data.world.prompts import (
    Prompt,
    read_prompts,
    score_prompts,
    write_training_pictures,
)
from nucleus_model.checkpoints.saved import load_saved
from nucleus_model.sampling.pictures import tile
from nucleus_model.sampling.sample import sample_images
from nucleus_model.settings.settings import QuickTrainSettings
from nucleus_model.training.train import quick_train
from scripts.benchmark import Measure, measure, parser, publish

RECIPE = Path(__file__).resolve().parents[1] / "configs/nano/learning.yaml"
KINDS = ("true", "shuffled")
SIDE = 64
STEPS, GUIDANCE = 50, 4.0  # settings of the sampler
GRID = (5, 16)  # rows and columns of the grid, which shows the first prompts
GOALS = {"true": ">= 0.8", "shuffled": "<= 0.3"}


@dataclass(frozen=True)
class Size:
    """How much is done.

    Attributes:
        pictures: Number of pictures to train on.
        steps: Steps of each training; None for the recipe's.
        prompts: Number of prompts to draw.
    """

    pictures: int = 12_000
    steps: int | None = None
    prompts: int = 200


QUICK = Size(pictures=300, steps=8, prompts=8)


def training_set(folder: Path, count: int, shuffled: bool) -> None:
    """Makes the pictures, and runs the line up to the training set, in this process.

    Raises:
        RuntimeError: A shard failed.
    """
    pictures = folder / "pictures"
    write_training_pictures(pictures, count, shuffled=shuffled)
    recipe = load_recipe(RECIPE, [f"corpus={folder / 'corpus'}", f"ingest.source={pictures}"])
    with (folder / "line.log").open("w") as log:
        for line in ("ingest", "curate", "shard"):
            run = run_line(recipe, line, inline=True, say=partial(print, file=log))
            if run.failed_shards:
                raise RuntimeError(f"nucleus {line} failed; see {log.name}")


def trained(
    folder: Path, count: int, settings: QuickTrainSettings, prompts: Sequence[Prompt]
) -> "Learned":
    """Makes the set below a folder, trains on it, draws the prompts and checks the pictures."""
    torch.set_num_threads(1)
    if not folder.exists():
        said(f"the training set, captions {folder.name}")
        folder.mkdir(parents=True)
        training_set(folder, count, folder.name == "shuffled")
    (manifest,) = folder.glob("corpus/sets/learning/*/manifest.parquet")
    said(f"a training of {settings.steps:,} steps, captions {folder.name}")
    summary = quick_train(str(manifest.parent), folder / "training", settings)
    images = drawn(folder / "training" / summary["checkpoint"], prompts)
    rows, columns = GRID
    shown = images[: rows * columns]
    if len(shown) == rows * columns:
        grid = tile(shown.reshape(rows, columns, *shown.shape[1:]))
        Image.fromarray(grid).save(folder.parent / f"{folder.name}.png")
    score = score_prompts(images, prompts)
    # What a picture that ignores its prompt would score.
    chance = score_prompts(images, [*prompts[1:], *prompts[:1]])
    return Learned(score, chance, summary["timings"]["seconds"] / 60, summary["last_loss"])


def drawn(checkpoint: Path, prompts: Sequence[Prompt]) -> np.ndarray:
    """Draws a picture for each prompt: uint8 (prompts, SIDE, SIDE, 3)."""
    saved = load_saved(checkpoint)
    return sample_images(
        saved.model,
        saved.text,
        saved.codec,
        [prompt.prompt for prompt in prompts],
        [prompt.seed for prompt in prompts],
        width=SIDE,
        height=SIDE,
        steps=STEPS,
        guidance=GUIDANCE,
        batch_size=20,
    )


@dataclass(frozen=True)
class Learned:
    """The result of a training.

    Attributes:
        score: The checker's counts in the pictures that were drawn.
        chance: The same counts if each picture is judged by the next picture's prompt.
        minutes: Wall-clock time, in minutes.
        loss: Loss at the end.
    """

    score: ImageScore
    chance: ImageScore
    minutes: float
    loss: float


def bench(out: Path, size: Size) -> list[Measure]:
    """Makes pictures, trains and measures everything; returns the rows of the table."""
    recipe = load_recipe(RECIPE, [f"corpus={out}"])
    changed = {} if size.steps is None else {"steps": size.steps, "sample_every": 0}
    settings = recipe.section(Train).model_copy(update=changed)
    prompts = read_prompts()[: size.prompts]
    # Both at the same time, in processes of their own; so the minutes are those of a busy machine.
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        jobs = {
            kind: pool.submit(trained, out / kind, size.pictures, settings, prompts)
            for kind in KINDS
        }
        results = {kind: job.result() for kind, job in jobs.items()}
    rows = []
    for kind, learned in results.items():
        name, score = f"{kind} captions", learned.score
        rows += [
            measure(f"{name}: objects right", [score.right_share], "share", GOALS[kind]),
            measure(f"{name}: and nothing else seen", [score.images_right_share], "share"),
            measure(f"{name}: objects of another prompt", [learned.chance.right_share], "share"),
            measure(f"{name}: prompts", [score.images], ""),
            measure(f"{name}: training", [learned.minutes], "minutes", "<= 20"),
            measure(f"{name}: loss at the end", [learned.loss], ""),
        ]
    (out / "found.json").write_text(
        json.dumps({kind: vars(learned.score) for kind, learned in results.items()}, indent=1)
    )
    return rows


def said(line: str) -> None:
    """Prints a line of progress, with the time."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command, and returns the exit code."""
    options = parser(__doc__)
    options.add_argument("--out", type=Path, metavar="FOLDER", help="keep everything there")
    chosen = options.parse_args(arguments)
    size = QUICK if chosen.quick else Size()
    with tempfile.TemporaryDirectory(prefix="bench-learning-") as folder:
        measures = bench((chosen.out or Path(folder)).resolve(), size)
    publish(measures, chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

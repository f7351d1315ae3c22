"""Trains on a training set with `quick_train`, and writes a loss curve, checkpoints and samples.

    summary = quick_train("corpus/sets/demo/<hash>", Path("out"), QuickTrainSettings(steps=600))

It writes these files to `out`. All except the timings are bit-identical on the same machine with
the same seed and number of threads:

| file | content |
|---|---|
| `metrics.jsonl` | one line per step: step, epoch, loss, lr, grad_norm, samples; with several |
| | phases, phase; for a step that was skipped or clipped, skipped and ids. Further lines are |
| | measurements: holdout_loss, holdout_bins; router (by block: uncovered, single, coverage, |
| | max_load) |
| `timings.jsonl` | one line per step: step, seconds, images_per_second |
| `checkpoints/NNNNNN/` | a checkpoint (module `checkpoint`) |
| `checkpoints/merged-NNNNNN/` | the merged checkpoint, if the schedule merges |
| `samples/NNNNNN.png` | grids during training |
| `samples.png`, `samples.json` | the final grid: a row per prompt, a column per seed |
| `summary.json` | what `quick_train` returns, except `timings` and `encoded` |

A killed run resumes from its newest checkpoint when it is called again, and writes the same files.
A finished run continues when it is called with more steps or further phases; from then on, its
learning rate follows the new number of steps. Under torchrun, all processes call `quick_train`
(`network.distributed`).
"""

import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from nucleus_model.checkpoints.resume import alone
from nucleus_model.data.joint import JointOrder
from nucleus_model.data.kept import Kept
from nucleus_model.network.distributed import joined
from nucleus_model.settings.settings import QuickTrainSettings
from nucleus_model.training.determinism import deterministic
from nucleus_model.training.run_parts import RunParts
from nucleus_model.training.trainer import Progress, Saved, Trainer


def quick_train(
    set_folder: str,
    out: Path,
    settings: QuickTrainSettings,
    storage_options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    saved: Saved | None = None,
    joint: JointOrder | None = None,
    kept: Kept | None = None,
    grid: bool = True,
) -> dict[str, Any]:
    """Trains on a training set and samples from the result.

    Args:
        set_folder: Local path or fsspec URL of the folder that holds `manifest.parquet`.
        out: Local folder for the results, which all processes can access. If it contains a run with
            the same settings and set, or with fewer steps, that run is resumed.
        settings: The run's settings.
        storage_options: Options for fsspec.
        progress: Called after each step, with the step, the number of steps, and the step's
            metrics.
        saved: Called after each checkpoint except the last, with its folder.
        joint: The common order of two sets that are compared; None for the set's own order.
        kept: Objects that other runs of this process have opened; None to open everything anew.
        grid: Whether to draw samples at the end; otherwise the run has no `samples.png`.

    Returns:
        The summary. Its keys `timings` (seconds, images_per_second) and `encoded` (the stored
        latents and text states that were read) are not in `summary.json`.

    Raises:
        CorpusError: The set does not match its manifest, is empty, or none of its images can be
            decoded.
        RequestError: `limit` or `sample` leaves too little of the set, a package is missing, or
            another process is training in `out`.
        ValueError: The settings do not fit the set or the text encoder, or `out` contains another
            run.
        FloatingPointError: Too many steps in a row were skipped (`guards`); existing checkpoints
            stay.
    """
    started = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    with (
        deterministic(settings.threads, settings.device, settings.seed),
        joined(settings.device) as world,
        alone(out) if world.first else nullcontext(),
    ):
        parts = RunParts(set_folder, settings, storage_options, world, joint, kept)
        trainer = Trainer(parts, out, joint)
        try:
            trainer.train(progress, saved)
            summary = trainer.finish(grid)
            encoded = trainer.parts.encoded()
        finally:
            trainer.metrics.close()
    seconds = time.perf_counter() - started
    speed = trainer.metrics.images_per_second()
    timings = {"seconds": seconds, "images_per_second": speed}
    return summary | {"timings": timings, "encoded": encoded}

"""`quick_train`: a training set in, a loss curve, checkpoints and samples out.

    summary = quick_train("corpus/sets/demo/<hash>", Path("out"), QuickTrainSettings(steps=600))

What it leaves in `out`, all of it equal to the last bit on the same machine with the same seed and
threads, but for the timings:

| file | content |
|---|---|
| `metrics.jsonl` | a line a step: step, epoch, loss, lr, grad_norm, samples; with several phases |
| | phase; where a step was odd skipped or clipped, and ids; and lines of measurements: |
| | holdout_loss, holdout_bins; router (by block: uncovered, single, coverage, max_load) |
| `timings.jsonl` | a line a step: step, seconds, images_per_second (of the step) |
| `checkpoints/NNNNNN/` | as `checkpoint` lists; `merged-NNNNNN/` beside, if the schedule merges |
| `samples/NNNNNN.png` | grids on the way |
| `samples.png`, `samples.json` | a row a prompt, a column a seed |
| `summary.json` | what `quick_train` returns, but for its `timings` and `encoded` |

A run that was killed goes on from its newest checkpoint when it is called again, and leaves the
same. One that is done goes on where it was when it is called with more steps, or further phases;
its learning rate is from there on that of the new number of steps. Under torchrun all processes
call it (`network.distributed`).
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
        out: Local folder for the results (one that all processes see); if it holds a run of the
            same settings and set, or of fewer steps, that run goes on.
        settings: The run's settings.
        storage_options: For fsspec.
        progress: Called after each step with the step, the number of steps, and the step's metrics.
        saved: Called after each checkpoint on the way with its folder.
        joint: The order of two sets that are compared, in place of the set's own.
        kept: What other runs of this process have opened; None to open anew.
        grid: Whether samples are drawn at the end; without, the run has no `samples.png`.

    Returns:
        The summary; its keys `timings` (seconds, images_per_second) and `encoded` (what was read of
        latents and text states beside the set) are not in `summary.json`.

    Raises:
        CorpusError: The set is not as its manifest says, is empty, or none of its images can be
            decoded.
        RequestError: `limit` or `sample` leaves too little of the set, a package is missing, or
            another process trains in `out`.
        ValueError: The settings do not fit the set or the text encoder, or `out` holds another run.
        FloatingPointError: Too many steps in a row had a loss or gradient that is not finite; the
            checkpoints are left as they were.
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

"""Trains the Nucleus-Image transformer at any size, merges and exports it, and samples from it.

It reads a training set (aspect-bucketed tars and `manifest.parquet`, as the stage `shard` writes
them), trains at a size that a laptop can run, and writes a loss curve, a held-out loss, checkpoints
and a grid of samples:

    from pathlib import Path

    from nucleus_model import QuickTrainSettings, draw, quick_train

    summary = quick_train("corpus/sets/demo/<hash>", Path("out"), QuickTrainSettings(steps=600))
    for file in draw(Path("out") / summary["checkpoint"], ["a red square"], Path("drawn")):
        print(file)

The preset `nano` has 2.4 M parameters with the nano VAE (2.5 M on plain pixels). A picture of 64 x
64 pixels is 16 tokens with the VAE, and 64 on pixels. A training of 2,000 steps of 64 pictures took
17.5 minutes on one CPU core. The model then drew 94 % of 200 unseen prompts correctly; trained on
shuffled captions, 2.5 %. `docs/README.md` has the pictures and the commands.

The trade-off: a small model shows whether captions match their images, and whether a set can be
learned. It does not predict what a large model would learn from the set.

| room | contents |
|---|---|
| `settings` | every setting, and what is computed from settings and ids alone; no torch |
| `encoders` | pixels to latents and back, prompts to text states |
| `network` | the transformer, its objective, its size, distribution over processes |
| `data` | batches of a training set: the order of samples, their latents |
| `checkpoints` | weights on disk: saving, resuming, merging, exporting |
| `sampling` | from noise to pictures, and to files |
| `training` | the loop, one step, optimizers, guards, measurements |

A room imports only rooms above it in this table, and `data` does not import `network`.

`python -m nucleus_model SET OUT` trains without Ray, in one process or, under torchrun, in several.

Determinism: with the same seed, number of threads and machine, every loss on a CPU is
bit-identical. Random numbers are keyed by record ids, never by position, so a sample gets the same
noise whatever else the set contains. Wall-clock times are written to `timings.jsonl` only. Nothing
in this package imports Ray or a stage, and nothing unpickles.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nucleus_model.sampling.draw import draw
    from nucleus_model.settings.settings import QuickTrainSettings
    from nucleus_model.settings.verdict import VerdictSettings
    from nucleus_model.training.train import quick_train
    from nucleus_model.training.verdict.call import verdict

__all__ = ["QuickTrainSettings", "VerdictSettings", "draw", "quick_train", "verdict"]

_HOMES = {
    "QuickTrainSettings": "nucleus_model.settings.settings",
    "VerdictSettings": "nucleus_model.settings.verdict",
    "draw": "nucleus_model.sampling.draw",
    "quick_train": "nucleus_model.training.train",
    "verdict": "nucleus_model.training.verdict.call",
}


def __getattr__(name: str) -> Any:
    # Imported on first access: recipes are checked on machines without torch, and `nucleus --help`
    # must not wait for its import.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)

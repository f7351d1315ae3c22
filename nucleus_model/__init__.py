"""Quick-train: a tiny Nucleus MoE diffusion transformer shows whether a set can be learned.

It reads a training set (aspect-bucketed tars and `manifest.parquet`, as the stage `shard` writes
them), trains at a size that a laptop can bear, and leaves a loss curve, a held-out loss, a
checkpoint and a grid of samples:

    from pathlib import Path

    from nucleus_model.settings.settings import QuickTrainSettings
    from nucleus_model.training.train import quick_train

    summary = quick_train("corpus/sets/demo/<hash>", Path("out"), QuickTrainSettings(steps=600))

The preset `nano` has 4 M parameters and 64 image tokens (64 x 64 pixels) and trains at some 40 to
50 images a second on one CPU core, so that 600 steps of 8 images take about two minutes. The
trade-off: the held-out loss tells captions that match from captions that don't, and clean images
from noisy ones; the samples show colours that follow the words and no shapes yet, and of what a
large model would make of the set they tell nothing.

| module | what it holds |
|---|---|
| `transformer` | the Nucleus-Image transformer; with `attention`, `moe`, `rope` and `config` |
| `presets` | its sizes: `debug` for tests, `nano`, `small` for one GPU, `base` as published |
| `init` | builds a transformer; every parameter initialised by rule, from a seed |
| `exchange` | to and from the layout of diffusers, whose pipeline runs on what we save |
| `codec` | pixels to latents and back: whitened space-to-depth, or a VAE (`vae`) |
| `text` | the captioner's language tower as text encoder |
| `loader` | a training set as deterministic batches |
| `choice` | which samples are used: the first, a share; to train, or held out |
| `phases`, `feed` | what changes between stretches of steps; what each step takes |
| `schedule` | learning rate, timestep shift, weights of a merge |
| `step` | one optimizer step: pieces, clipping; with `guards` against odd ones |
| `distributed` | one process, or many under torchrun with FSDP2 |
| `optimizer` | Muon and AdamW, by rules on names |
| `flow` | packing, the rectified-flow objective, how sigmas are drawn |
| `holdout` | the held-out loss: fixed noise, stratified sigmas |
| `sample` | from noise to images, with guidance |
| `solver` | its steps: Euler's as published, or UniPC's for fewer |
| `pictures` | PNGs that say how they were made, and the grid |
| `saved` | a checkpoint or a pipeline, with its text encoder and codec |
| `draw` | pictures from one, as files: `nucleus sample` |
| `export` | a checkpoint in the layout of diffusers: `nucleus export-model` |
| `checkpoint` | whole or not at all: `model.safetensors` and `checkpoint.json` |
| `resume`, `merge` | going on from the newest checkpoint; several as one |
| `metrics` | a run's lines, its summary, TensorBoard |
| `settings` | every setting, free of torch |
| `parts`, `train` | a run put together; the loop; `python -m nucleus_model` |

What is deterministic: with one seed, one thread count and one machine, every loss is equal to the
last bit. Randomness is keyed by record ids, never by position, so a sample meets the same noise
whatever else the set holds. Wall-clock figures stand in `timings.jsonl` alone. Nothing here imports
Ray or a stage; nothing unpickles.
"""

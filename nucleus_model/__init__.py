"""Quick-train: a tiny Nucleus MoE diffusion transformer shows whether a set can be learned.

It reads a training set (aspect-bucketed tars and `manifest.parquet`, as the stage `shard` writes
them), trains at a size that a laptop can bear, and leaves a loss curve, a held-out loss, a
checkpoint and a grid of samples:

    from pathlib import Path
    from nucleus_model.train import QuickTrainSettings, quick_train

    summary = quick_train("corpus/sets/demo/<hash>", Path("out"), QuickTrainSettings(steps=200))

On two CPU cores the preset `nano` (2.2 M parameters, 64 x 64 pixels, 64 image tokens) makes some
150 images a second, so 200 steps of 32 images take under a minute. The trade-off: it tells captions
that match from captions that don't, and clean images from noisy ones; of what a large model would
make of them it tells nothing.

| module | what it holds |
|---|---|
| `presets` | sizes of the transformer: `nano`, and `debug` for tests |
| `init` | builds a transformer; every parameter initialised by rule, from a seed |
| `codec` | pixels to latents and back: space-to-depth instead of a VAE |
| `text` | the captioner's language tower as text encoder |
| `loader` | a training set as deterministic batches |
| `flow` | packing, the rectified-flow objective, how sigmas are drawn |
| `holdout` | the held-out loss: fixed noise, stratified sigmas |
| `sample` | the Euler sampler with guidance, and the grid |
| `checkpoint` | whole or not at all: `model.safetensors` and `checkpoint.json` |
| `train` | the settings and the loop |

What is deterministic: with one seed, one thread count and one machine, every loss is equal to the
last bit. Randomness is keyed by record ids, never by position, so a sample meets the same noise
whatever else the set holds. Wall-clock figures stand in `timings.jsonl` alone. Nothing here imports
Ray or a stage; nothing unpickles.
"""

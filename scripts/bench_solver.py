"""Measures how close short sampling runs come to a long one, from the same noise, by solver.

    python scripts/bench_solver.py corpus/runs/RUN/quick_train/checkpoints/000600
    python scripts/bench_solver.py --quick --json solver.json CHECKPOINT

Distance is the root mean square between the latents of a run and those of 400 Euler steps from the
same noise, in percent of the root mean square between the latents of two seeds. A row shows the
median over the pictures, and the range from the best to the worst. Guidance has its default. If a
model's guided flow branches, a short run can end at another picture; these are the worst.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from nucleus_data.world import captions, scene
from nucleus_model.checkpoints.saved import Saved, load_saved
from nucleus_model.network.flow import draw_noise
from nucleus_model.sampling.sample import encode_prompts, sample_latents
from nucleus_model.sampling.solver import SOLVERS
from scripts.benchmark import Measure, measure, parser, publish

SEED = 424_242  # seed of the prompts' scenes, which no training set of this project uses
STEPS = (8, 12, 20, 50)
REFERENCE = 400
GUIDANCE = 4.0


def latents(saved: Saved, prompts: Sequence[str], solver: str, steps: int) -> torch.Tensor:
    """Samples the latents of one picture per prompt, at the size of the training: (B, C, H, W)."""
    side = saved.resolution // saved.codec.factor
    grid = (side // saved.model.config.patch_size,) * 2
    shape = (saved.codec.channels, side, side)
    noise_BCHW = torch.stack([draw_noise(n, "solver", shape) for n in range(len(prompts))])
    text = encode_prompts(saved.model, saved.text, prompts, (grid[0], grid[1]))
    empty = encode_prompts(saved.model, saved.text, [""] * len(prompts), (grid[0], grid[1]))
    return sample_latents(
        saved.model, noise_BCHW, text, empty, steps=steps, guidance=GUIDANCE, solver=solver
    )


def apart(one_BCHW: torch.Tensor, other_BCHW: torch.Tensor) -> torch.Tensor:
    """Returns the root mean square of each picture's difference, (B,)."""
    return (one_BCHW - other_BCHW).square().mean(dim=(1, 2, 3)).sqrt()


def distances(saved: Saved, pictures: int, reference: int) -> list[Measure]:
    """Measures all rows.

    Args:
        saved: The model.
        pictures: The number of pictures.
        reference: Steps of the long run.
    """
    prompts = [captions(scene(SEED, n))["short"] for n in range(pictures)]
    end_BCHW = latents(saved, prompts, "euler", reference)
    seeds = apart(end_BCHW, end_BCHW.roll(1, dims=0)).median().item()
    rows = []
    for solver in SOLVERS:
        for steps in STEPS:
            shares = 100 * apart(latents(saved, prompts, solver, steps), end_BCHW) / seeds
            name = f"{solver}, {steps} steps: distance from {reference} of euler"
            rows.append(measure(name, shares.tolist(), "%"))
            print(f"{name}: {rows[-1].value} %", file=sys.stderr, flush=True)
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark, and returns the exit code."""
    options = parser(__doc__ or "")
    options.add_argument("checkpoint", type=Path, help="of a quick-train, or a pipeline's folder")
    given = options.parse_args(arguments)
    torch.set_num_threads(1)
    size = (4, 100) if given.quick else (16, REFERENCE)
    publish(distances(load_saved(given.checkpoint), *size), given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Solvers: the sigmas at which the model is evaluated, and the update after each evaluation.

`euler` is the published solver. `unipc` (Zhao et al. 2023, arXiv:2302.04867) is diffusers'
second-order predictor-corrector, for runs with few steps; it also evaluates the model once per
step. Both use the published sigmas, without a shift.

The table shows the distance of a result from that of 400 Euler steps, in percent of the distance
between two seeds. Figures are medians of 16 pictures (from the best to the worst: 4 to 28 percent
points), measured by `scripts/bench_solver.py` on a nano model after 700 steps on 388 pictures of
the world, with VAE latents and guidance 4. The last three rows are other solvers of diffusers with
the same sigmas. Heun evaluates the model twice per step, and so has half the number of steps.

| | 8 | 12 | 20 | 50 |
|---|---|---|---|---|
| euler | 18.6 | 12.8 | 8.0 | 3.2 |
| unipc | 15.2 | 8.1 | 3.5 | 2.6 |
| unipc of third order | 15.9 | 8.8 | 4.0 | 2.7 |
| DPM-Solver++ of second order | 18.7 | 11.5 | 6.4 | 1.6 |
| Heun | 22.7 | 18.1 | 8.4 | 2.0 |

So 20 steps of unipc are about as good as 50 of Euler, and 12 as good as 20. With 8 steps, neither
is good enough.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch

Advance = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Solver = Callable[[int], Iterator[tuple[float, Advance]]]


def sigmas(steps: int) -> list[float]:
    """Returns the N + 1 sigmas of N steps: 1 to 1/N in equal steps, then 0, without a shift."""
    return [*np.linspace(1.0, 1 / steps, steps).tolist(), 0.0]


def solve(solver: str, steps: int) -> Iterator[tuple[float, Advance]]:
    """Yields the steps of a run, in order; each must be taken before the next is requested.

    Args:
        solver: A key of `SOLVERS`.
        steps: Number of steps.

    Yields:
        The sigma at which to evaluate the model, and a function that takes the velocity (noise
        minus data) at this sigma and the latents, both (B, C, H, W), and returns the latents at the
        next sigma.

    Raises:
        ValueError: There is no such solver.
    """
    if solver not in SOLVERS:
        raise ValueError(f"solver must be one of {', '.join(SOLVERS)}, got {solver!r}")
    return SOLVERS[solver](steps)


def _euler(steps: int) -> Iterator[tuple[float, Advance]]:
    for sigma, following in pairwise(sigmas(steps)):

        def advance(v: torch.Tensor, x: torch.Tensor, by: float = following - sigma) -> Any:
            return x + by * v

        yield sigma, advance


def _unipc(steps: int) -> Iterator[tuple[float, Advance]]:
    from diffusers import UniPCMultistepScheduler

    scheduler: Any = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=1.0, solver_order=2
    )
    evaluated = sigmas(steps)[:-1]
    scheduler.set_timesteps(sigmas=np.array(evaluated))  # a copy, as it subtracts 1e-6 in place
    scheduler.set_begin_index(0)
    # The scheduler's timesteps are rounded to thousandths; the model needs the latents' exact
    # sigma.
    for sigma, time in zip(evaluated, scheduler.timesteps, strict=True):

        def advance(v: torch.Tensor, x: torch.Tensor, time: torch.Tensor = time) -> Any:
            return scheduler.step(v, time, x, return_dict=False)[0]

        yield sigma, advance


SOLVERS: dict[str, Solver] = {"euler": _euler, "unipc": _unipc}

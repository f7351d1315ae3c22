"""Muon for convolutions; torch's own takes two-dimensional weights only."""

import math
from collections.abc import Iterable
from typing import Any

import torch

# Of the quintic iteration that brings all singular values near 1 (Jordan et al. 2024).
A, B, C = 3.4445, -4.7750, 2.0315
STEPS = 5


class ConvMuon(torch.optim.Optimizer):
    """Momentum, orthogonalised over (outputs, everything else), scaled to AdamW's size.

    Args:
        params: Weights with two dimensions or more.
        lr: As AdamW's.
        momentum: Of the running mean of gradients (Nesterov).
    """

    def __init__(
        self, params: Iterable[torch.Tensor], lr: float = 1e-3, momentum: float = 0.95
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step; `closure` is not used."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                mean = state.setdefault("mean", torch.zeros_like(parameter))
                mean.lerp_(parameter.grad, 1 - group["momentum"])
                ahead = parameter.grad.lerp(mean, group["momentum"]).flatten(1)
                size = 0.2 * math.sqrt(max(ahead.shape))
                update = orthogonal(ahead).view_as(parameter)
                parameter.sub_(update, alpha=group["lr"] * size)


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """A matrix with the same singular vectors and singular values near 1, or 0 where they were."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(STEPS):
        gram = x @ x.T
        x = A * x + (B * gram + C * gram @ gram) @ x
    return x.T if tall else x

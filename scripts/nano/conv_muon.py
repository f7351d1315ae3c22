"""Muon for convolutions."""

import math
from collections.abc import Iterable
from typing import Any

import torch

from nucleus_model.training.optimizer import newton_schulz


class ConvMuon(torch.optim.Optimizer):
    """Momentum, orthogonalised over (outputs, everything else), scaled to AdamW's size.

    Args:
        params: Weights with two dimensions or more.
        lr: Learning rate, on AdamW's scale.
        momentum: Share of the running mean of gradients that a step keeps (Nesterov).
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
                update = newton_schulz(ahead).view_as(parameter)
                parameter.sub_(update, alpha=group["lr"] * size)

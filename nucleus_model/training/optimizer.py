"""Muon for the matrices inside blocks, AdamW for the rest, under one learning rate.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) replaces a matrix's momentum
with the nearest semi-orthogonal matrix, computed by Newton-Schulz iterations, so that all
directions are learned at the same speed. The update is scaled by 0.2 sqrt(longer side), to about
the size of AdamW's updates, so that both can share a learning rate (Liu et al. 2025,
arXiv:2502.16982). Stacked experts (E, D, I) are treated as E matrices, orthogonalised in one batch.

    optimizers = build_optimizers(model, "muon", lr=2e-3, weight_decay=0.01)
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from nucleus_model.network.distributed import is_sharded, like
from nucleus_model.network.transformer import NucleusTransformer

# Coefficients and number of the quintic iterations (Jordan et al. 2024).
QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
LONG = 2  # times as long as wide: matrices that are iterated by their Gram matrix
UPDATE_SIZE = 0.2
BETAS = (0.9, 0.95)

# A parameter belongs to the first pattern that matches its name. AdamW gets the modulation, the
# routers, the input and output layers, norms and biases.
RULES: tuple[tuple[str, str], ...] = (
    (r"\.bias$", "adamw_plain"),
    (r"norm(_[qk])?\.weight$|\.norm_\w+\.weight$", "adamw_plain"),
    (r"^(img_in|proj_out|norm_out|time_text_embed)\.", "adamw"),
    (r"\.img_mod\.", "adamw"),
    (r"\.img_mlp\.gate\.weight$", "adamw"),
    (r"^transformer_blocks\.\d+\.(attn|encoder_proj|img_mlp)\.", "muon"),
)


def newton_schulz(
    matrices: torch.Tensor,
    iterations: int = ITERATIONS,
    precision: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Approximates each matrix's nearest semi-orthogonal one: singular values of about 0.7 to 1.2.

    Args:
        matrices: A matrix (N, M), or a stack (E, N, M).
        iterations: Number of iterations.
        precision: Type of the iterations; for the default coefficients, bfloat16 is enough.

    Returns:
        Matrices of the same shape and type.
    """
    # The Gram matrix is computed on the shorter side. Dividing a matrix by its norm brings its
    # singular values to at most 1, from where the iteration converges.
    a, b, c = QUINTIC
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = (x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)).to(precision)
    add = torch.addmm if x.ndim == 2 else torch.baddbmm
    # In bfloat16, the Gram matrices of several iterations would lose too many digits.
    if precision == torch.float32 and x.shape[-1] >= LONG * x.shape[-2]:
        x = _factor(x @ x.mT, iterations, add) @ x
    else:
        for _ in range(iterations):
            gram = x @ x.mT
            x = add(x, add(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)


def _factor(gram: torch.Tensor, iterations: int, add: Callable[..., torch.Tensor]) -> torch.Tensor:
    """Returns what all iterations together multiply a matrix by, from its Gram matrix alone.

    An iteration multiplies X by P = a I + b G + c G G, with G = X X', so that G becomes P G P. For
    a long X, this takes fewer operations than the iterations on X itself.
    """
    a, b, c = QUINTIC
    diagonal = a * torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    factor = step = add(gram, gram, gram, beta=b, alpha=c) + diagonal
    for _ in range(iterations - 1):
        gram = step @ gram @ step
        step = add(gram, gram, gram, beta=b, alpha=c) + diagonal
        factor = step @ factor
    return factor


def orthogonal(matrices: torch.Tensor, precision: torch.dtype = torch.float32) -> torch.Tensor:
    """Applies `newton_schulz`, also to a tensor that FSDP2 shards over its first dimension.

    Of a stack, a process holds whole matrices, and computes these. Of a single matrix, it holds
    some rows: every process gathers the whole matrix, does the same work, and keeps its own rows.
    """
    if not is_sharded(matrices):
        return newton_schulz(matrices, precision=precision)
    from torch.distributed.tensor import DTensor

    assert isinstance(matrices, DTensor)
    if matrices.ndim == 3:
        return DTensor.from_local(
            newton_schulz(matrices.to_local(), precision=precision),
            matrices.device_mesh,
            matrices.placements,
            shape=matrices.shape,
            stride=matrices.stride(),
        )
    return like(newton_schulz(matrices.full_tensor(), precision=precision), matrices)


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay.

    Args:
        parameters: Tensors with two dimensions, or three (stacks of matrices).
        lr: Learning rate.
        momentum: Share of the momentum that is kept at each step.
        weight_decay: Weights shrink by learning rate times this at each step, as in AdamW.
        precision: Type of the Newton-Schulz iterations.

    Raises:
        ValueError: A parameter has another number of dimensions.
    """

    def __init__(
        self,
        parameters: Iterable[torch.nn.Parameter],
        lr: float = 1e-3,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.precision = precision
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.ndim not in (2, 3):
                    raise ValueError(
                        "Muon only takes matrices and stacks of them, got a parameter of shape "
                        f"{tuple(parameter.shape)}"
                    )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Updates every parameter that has a gradient."""
        if closure is not None:
            raise ValueError("Muon does not accept a closure")
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)

    def _update(
        self, parameter: torch.Tensor, gradient: torch.Tensor, group: dict[str, Any]
    ) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(gradient)
        momentum = state["momentum"]
        # Nesterov momentum: the update looks ahead by one more step of the averaged gradient.
        momentum.lerp_(gradient, 1 - group["momentum"])
        update = orthogonal(gradient.lerp(momentum, group["momentum"]), self.precision)
        # The entries of a semi-orthogonal matrix have a root mean square of 1 / sqrt(longer side).
        size = UPDATE_SIZE * max(parameter.shape[-2:]) ** 0.5
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(update, alpha=-group["lr"] * size)


def grouped(model: NucleusTransformer) -> dict[str, list[torch.nn.Parameter]]:
    """Groups all parameters by the first of `RULES` that matches their names.

    Raises:
        ValueError: A name matches no rule.
    """
    groups: dict[str, list[torch.nn.Parameter]] = {kind: [] for _, kind in RULES}
    for name, parameter in model.named_parameters():
        for pattern, kind in RULES:
            if re.search(pattern, name):
                groups[kind].append(parameter)
                break
        else:
            raise ValueError(f"no rule assigns an optimizer to the parameter {name}")
    return groups


def build_optimizers(
    model: NucleusTransformer,
    kind: str,
    *,
    lr: float,
    weight_decay: float,
    precision: torch.dtype = torch.float32,
) -> Sequence[torch.optim.Optimizer]:
    """Builds the optimizers of a model; each parameter is in exactly one.

    Args:
        model: The model.
        kind: `muon` for Muon and AdamW, assigned by `RULES`; `adamw` for AdamW only.
        lr: Learning rate of both.
        weight_decay: Weight decay of matrices; norms and biases have none.
        precision: Type of Muon's iterations.

    Raises:
        ValueError: A parameter's name matches no rule.
    """
    groups = grouped(model)
    # No decay for norms and biases: it would pull the norms' weights from 1 to 0.
    matrices = groups["adamw"] + ([] if kind == "muon" else groups["muon"])
    adamw = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": weight_decay},
            {"params": groups["adamw_plain"], "weight_decay": 0.0},
        ],
        lr=lr,
        betas=BETAS,
    )
    if kind != "muon":
        return [adamw]
    muon = Muon(groups["muon"], lr=lr, weight_decay=weight_decay, precision=precision)
    return [muon, adamw]

"""A batched matrix product whose weights' gradients lie in memory that outlives them.

The experts' gradients are the largest tensors of a step. On a GPU torch keeps the memory of tensors
that are gone; on a CPU the C library gives large blocks back to the system, and the next step pays
a page fault for each 4 kB of the new ones. With 64 experts of width 512 (`scripts/bench_model.py`)
that was more than half the time of the products that make these gradients (55 ms of processor time
on fresh memory, 22 ms on known), and a tenth of the whole step's.

Legend of shapes: E experts, M tokens of an expert, I values that go in, O values that come out.
"""

import weakref
from typing import Any

import torch
from torch.autograd.function import once_differentiable


class Spare:
    """Lends blocks of memory as tensors; each comes back when the last tensor on it is gone."""

    def __init__(self) -> None:
        self.free: dict[tuple[int, ...], list[torch.Tensor]] = {}

    def empty_like(self, like: torch.Tensor) -> torch.Tensor:
        """Lends a float32 tensor of a shape, with whatever values the memory has."""
        free = self.free.setdefault(tuple(like.shape), [])
        block = free.pop() if free else torch.empty_like(like, requires_grad=False)
        # The storage of the lent tensor, which its views share, holds this array, and nothing else
        # does. So it dies with the last of them, whoever kept one.
        lease = block.numpy()
        weakref.finalize(lease, free.append, block).atexit = False
        return torch.from_numpy(lease)

    def __reduce__(self) -> tuple[type["Spare"], tuple[()]]:
        return Spare, ()  # a copy of a model has none yet


def product(x_EMI: torch.Tensor, weight_EIO: torch.Tensor, spare: Spare) -> torch.Tensor:
    """Multiplies batches of matrices as `torch.bmm` does, (E, M, O).

    But for float32 on a CPU it is `torch.bmm`, whose gradient has fresh memory.

    Args:
        x_EMI: Tokens by expert.
        weight_EIO: A stacked parameter.
        spare: Memory for the parameter's gradient.
    """
    # Autocast casts what goes into bmm, and the compiler fuses it; a function of our own is opaque
    # to both.
    plain = (
        x_EMI.device.type != "cpu"
        or not x_EMI.dtype == weight_EIO.dtype == torch.float32
        or torch.is_autocast_enabled("cpu")
        or torch.compiler.is_compiling()
    )
    if plain:
        return torch.bmm(x_EMI, weight_EIO)
    out: torch.Tensor = _Product.apply(x_EMI, weight_EIO, spare)
    return out


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, spare: Spare) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.spare = spare
        return torch.bmm(x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grad_x = torch.bmm(grad, weight.mT) if ctx.needs_input_grad[0] else None
        grad_weight = None
        if ctx.needs_input_grad[1]:
            grad_weight = torch.bmm(x.mT, grad, out=ctx.spare.empty_like(weight))
        return grad_x, grad_weight, None

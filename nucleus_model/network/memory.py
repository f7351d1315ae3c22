"""A batched matrix product that reuses the memory of its weights' gradients.

The experts' gradients are the largest tensors of a step. On a GPU, torch keeps the memory of freed
tensors. On a CPU, the C library returns large blocks to the system, and the next step pays a page
fault for each 4 kB of new ones. With 64 experts of width 512 (`scripts/bench_model.py`), that was
more than half the time of the products that compute these gradients (55 ms of processor time on
fresh memory, 22 ms on reused memory), and a tenth of the whole step's.

Legend of shapes: E experts, M tokens of an expert, I input values, O output values.
"""

import weakref
from typing import Any

import torch
from torch.autograd.function import once_differentiable


class Spare:
    """A pool of memory blocks, lent as tensors.

    A block returns to the pool when the last tensor that uses it is freed.
    """

    def __init__(self) -> None:
        self.free: dict[tuple[int, ...], list[torch.Tensor]] = {}

    def empty_like(self, like: torch.Tensor) -> torch.Tensor:
        """Lends an uninitialised float32 tensor of a shape."""
        free = self.free.setdefault(tuple(like.shape), [])
        block = free.pop() if free else torch.empty_like(like, requires_grad=False)
        # Only the storage of the lent tensor, which its views share, refers to this array. So the
        # array is freed together with the last of these tensors, whoever kept it.
        lease = block.numpy()
        weakref.finalize(lease, free.append, block).atexit = False
        return torch.from_numpy(lease)

    def __reduce__(self) -> tuple[type["Spare"], tuple[()]]:
        return Spare, ()  # a copied model starts with an empty pool


def product(x_EMI: torch.Tensor, weight_EIO: torch.Tensor, spare: Spare) -> torch.Tensor:
    """Multiplies batches of matrices like `torch.bmm`: (E, M, O).

    The gradient of the weight uses memory of the pool for float32 on a CPU. In all other cases,
    this is `torch.bmm`, whose gradient has fresh memory.

    Args:
        x_EMI: Tokens by expert.
        weight_EIO: A stacked parameter.
        spare: Memory for the parameter's gradient.
    """
    # Autocast casts the inputs of bmm, and the compiler fuses it; a custom autograd function is
    # opaque to both.
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

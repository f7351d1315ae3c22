"""Distributes a training over the processes of torchrun, or runs it in a single process.

    torchrun --nproc-per-node 8 -m nucleus_model SET OUT --config configs/full/recipe.yaml

Every process reads the same set and draws the same batches, and computes a contiguous share of each
batch. Losses and gradients are summed over all samples and divided by their number, so the number
of processes changes rounding and nothing else. Weights, gradients and the optimizer's state are
sharded by FSDP2 (`fully_shard`: each block, then the rest), with gloo on CPUs and NCCL on GPUs.

Some parts are simple rather than scalable: every process builds the whole model before it is
sharded (68 GB of memory each at 17 B parameters), gathers whole matrices for Muon, and computes all
held-out losses and all grids, although only rank 0 writes them. Checkpoints are gathered into the
same plain format as in a single process, so a run can continue with any number of processes.

Expert parallelism is designed, but not implemented. Experts choose C tokens of each image, so every
expert has the same amount of work, and the exchange has a fixed size, without padding or an
auxiliary loss. Over a mesh (data, expert), each process would hold E / P experts: `gate_up_proj`
and `down_proj` would be sharded on dimension 0 and excluded from FSDP's gathering, as they are 15.3
of 16.9 B parameters. A router sees all experts' scores for its own images, so the choice needs no
communication. Then one all-to-all sends the chosen rows (E, B C, D) by expert, the batched product
runs on (E / P, P B C, D), and a second all-to-all returns the results to be added. This transfers
E C D values per image and block in each direction: 8.4 MB in bfloat16 at 1024 tokens, factor 2 and
width 2048, where FSDP gathers 1.06 GB of experts per block. Up to about 60 images per step and
process, it therefore transfers less. Gradients of experts would be reduced over the data dimension
only, and Muon would need no gathering for them.
"""

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import distributed

from nucleus_model.network.transformer import NucleusTransformer

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This process's place among all processes of a run.

    Attributes:
        device: The torch device to compute on.
        rank: This process's number, from 0.
        size: The number of processes.
        mesh: The torch device mesh of all processes; None for a single process.
    """

    device: str = "cpu"
    rank: int = 0
    size: int = 1
    mesh: Any = None

    @property
    def first(self) -> bool:
        """Whether this process is rank 0, the one that writes files."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Returns this process's contiguous share; all shares, by rank, make up the whole."""
        # Shares differ in length by at most 1, and may be empty: the last batch of a bucket can be
        # smaller than the number of processes.
        bounds = [len(items) * rank // self.size for rank in (self.rank, self.rank + 1)]
        return items[bounds[0] : bounds[1]]

    def most(self, count: int) -> int:
        """Returns the length of the largest share of `count` items."""
        return -(-count // self.size)

    def sums(self, *values: float) -> list[float]:
        """Sums each value over all processes, in float64; all processes must call."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(tensor)
        return [float(value) for value in tensor.tolist()]

    def texts(self, text: str) -> list[str]:
        """Gathers the texts of all processes, by rank; all processes must call."""
        if self.size == 1:
            return [text]
        # Sent as padded bytes: torch's all_gather_object would unpickle what it receives.
        data = text.encode()
        sizes = [torch.zeros(1, dtype=torch.int64, device=self.device) for _ in range(self.size)]
        distributed.all_gather(sizes, torch.tensor([len(data)], device=self.device))
        longest = max(int(size) for size in sizes)
        padded = torch.zeros(longest, dtype=torch.uint8, device=self.device)
        padded[: len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        gathered = [torch.empty_like(padded) for _ in range(self.size)]
        distributed.all_gather(gathered, padded)
        return [
            bytes(item[: int(size)].tolist()).decode()
            for item, size in zip(gathered, sizes, strict=True)
        ]

    def wait(self) -> None:
        """Blocks until all processes have called this."""
        if self.size > 1:
            distributed.barrier()


@contextmanager
def joined(device: str) -> Iterator[World]:
    """Joins the process group of torchrun; without torchrun, there is only this process.

    Args:
        device: The configured device; `cuda` becomes this process's GPU.

    Yields:
        This process's place in the group. The group is destroyed afterwards.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(device)
        return
    kind = torch.device(device).type
    if kind == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    distributed.init_process_group("nccl" if kind == "cuda" else "gloo")
    try:
        mesh = distributed.device_mesh.init_device_mesh(kind, (size,))
        yield World(device, distributed.get_rank(), size, mesh)
    finally:
        distributed.destroy_process_group()


def shard(model: NucleusTransformer, world: World) -> None:
    """Shards a model's parameters over all processes, in place; a single process keeps them."""
    if world.mesh is None:
        return
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    # Blocks are sharded separately, so that only one block's weights are gathered at a time. FSDP
    # gathers them for `forward`; for the methods that encode text, only if these are registered.
    for block in model.blocks:
        fully_shard(block, mesh=world.mesh)
        register_fsdp_forward_method(block, "text")
    # FSDP2 by default keeps the root's parameters gathered after a forward pass. After a pass
    # without gradients, their next gradients would be twice as large (torch 2.14).
    fully_shard(model, mesh=world.mesh, reshard_after_forward=True)
    register_fsdp_forward_method(model, "encode_text")


def is_sharded(tensor: torch.Tensor) -> bool:
    """Returns whether a tensor is a `DTensor`."""
    # Importing the module takes half a second; if there is a DTensor, it has been imported.
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """Returns a sharded tensor gathered (all processes must call), and any other as it is."""
    if not is_sharded(tensor):
        return tensor
    sharded: Any = tensor
    gathered: torch.Tensor = sharded.full_tensor()
    return gathered


def like(tensor: torch.Tensor, example: torch.Tensor) -> torch.Tensor:
    """Moves and shards a tensor like an example.

    Args:
        tensor: A whole tensor, equal in every process.
        example: A tensor with the desired device and sharding.
    """
    tensor = tensor.to(example.device)
    if not is_sharded(example):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    shared: Any = example
    return distribute_tensor(tensor, shared.device_mesh, shared.placements, src_data_rank=None)

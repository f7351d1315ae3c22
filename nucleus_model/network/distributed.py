"""One process, or many under torchrun: shares of the samples, and whole tensors out of shards.

    torchrun --nproc-per-node 8 -m nucleus_model SET OUT --config configs/full/recipe.yaml

Every process reads the same set and draws the same batches. Of each step's samples it takes its
stretch, and losses and gradients are sums over all of them, divided by how many there are: the
number of processes changes rounding and nothing else. Weights, gradients and the optimizer's state
are sharded by FSDP2 (`fully_shard`: each block, then the rest); gloo on CPUs, NCCL on GPUs.

What is simple first: every process builds the whole model before it is sharded (at 17 B parameters
68 GB of memory each), gathers whole matrices for Muon, and measures all held-out samples and draws
all grids, as rank 0 alone writes. Checkpoints are gathered into the one plain format, so a run goes
on with any number of processes.

Expert parallelism, on paper. Experts choose C tokens of each image, so every expert has equally
much to do and the exchange has a fixed size, without padding or an auxiliary loss. Over a mesh
(data, expert) each process would hold E / P experts (`gate_up_proj` and `down_proj` sharded on
dimension 0 and left out of FSDP's gathering, as they are 15.3 of 16.9 B parameters). A router sees
all experts' scores for its own images, so the choice needs no message; then one all-to-all sends
the chosen rows (E, B C, D) by expert, the batched product runs on (E / P, P B C, D), a second
all-to-all brings the results back to be added in. That is E C D values an image and block each way,
at 1024 tokens, factor 2 and width 2048 8.4 MB in bfloat16, where FSDP gathers 1.06 GB of experts a
block: up to some 60 images a step and process it sends less. Gradients of experts are then reduced
over the data dimension alone, and Muon needs no gathering for them.
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
    """This process among all processes of a run.

    Attributes:
        device: Where it computes.
        rank: Its number, from 0.
        size: How many there are.
        mesh: Torch's mesh of all of them; None for one process.
    """

    device: str = "cpu"
    rank: int = 0
    size: int = 1
    mesh: Any = None

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Returns this process's stretch; all processes' stretches are the whole, in order."""
        # As even as can be, and some may be empty: the last batch of a bucket can be smaller than
        # the number of processes.
        bounds = [len(items) * rank // self.size for rank in (self.rank, self.rank + 1)]
        return items[bounds[0] : bounds[1]]

    def most(self, count: int) -> int:
        """Returns the length of the longest stretch of so many items."""
        return -(-count // self.size)

    def sums(self, *values: float) -> list[float]:
        """Sums each value over all processes, in float64; all processes must call."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(tensor)
        return [float(value) for value in tensor.tolist()]

    def texts(self, text: str) -> list[str]:
        """Gathers every process's text, by rank; all processes must call."""
        if self.size == 1:
            return [text]
        # As padded bytes: torch's all_gather_object would pickle, and nothing here unpickles.
        data = text.encode()
        sizes = [torch.zeros(1, dtype=torch.int64, device=self.device) for _ in range(self.size)]
        distributed.all_gather(sizes, torch.tensor([len(data)], device=self.device))
        longest = max(int(size) for size in sizes)
        mine = torch.zeros(longest, dtype=torch.uint8, device=self.device)
        mine[: len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        found = [torch.empty_like(mine) for _ in range(self.size)]
        distributed.all_gather(found, mine)
        return [
            bytes(item[: int(size)].tolist()).decode()
            for item, size in zip(found, sizes, strict=True)
        ]

    def wait(self) -> None:
        """Waits until all processes are here."""
        if self.size > 1:
            distributed.barrier()


@contextmanager
def joined(device: str) -> Iterator[World]:
    """Joins the processes that torchrun started; without torchrun, this process is alone.

    Args:
        device: The setting; `cuda` becomes this process's GPU.

    Yields:
        This process among them. The group is left afterwards.
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
    """Shards a model's parameters over all processes, in place; does nothing for one process."""
    if world.mesh is None:
        return
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    # Each block apart, so that the whole weights of one block are in memory at a time. FSDP gathers
    # them for `forward` by itself, and for the methods of the text because they are registered.
    for block in model.blocks:
        fully_shard(block, mesh=world.mesh)
        register_fsdp_forward_method(block, "text")
    # Left whole after a pass without gradients (FSDP2's default for the root), its parameters' next
    # gradients come out twice as large in torch 2.14.
    fully_shard(model, mesh=world.mesh, reshard_after_forward=True)
    register_fsdp_forward_method(model, "encode_text")


def is_sharded(tensor: torch.Tensor) -> bool:
    """Whether a tensor is a `DTensor`: whose module takes half a second, and is there if one is."""
    found = sys.modules.get("torch.distributed.tensor")
    return found is not None and isinstance(tensor, found.DTensor)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """Gathers a sharded tensor, which all processes must ask for; returns another as it is."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


def like(tensor: torch.Tensor, example: torch.Tensor) -> torch.Tensor:
    """Shards and places a tensor as an example is.

    Args:
        tensor: A whole tensor, equal in every process.
        example: One with the wanted device and shards.
    """
    tensor = tensor.to(example.device)
    if not is_sharded(example):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    shared: Any = example
    return distribute_tensor(tensor, shared.device_mesh, shared.placements, src_data_rank=None)

"""Resumes a killed run: finds its newest checkpoint, and restores optimizer state and position.

    checkpoints = Checkpoints(out / "checkpoints", keep=1)
    newest = checkpoints.newest()

All random numbers of a step are keyed by the seed, the epoch and the ids, so the position in the
data consists of three numbers (`batches.Cursor`). Optimizer state, and the state of torch's
generator (from which nothing here draws, but a codec might), are tensors in
`optimizer.safetensors`. Nothing is pickled.
"""

import fcntl
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from nucleus_data.errors import RequestError
from nucleus_model.checkpoints.checkpoint import STATE, TRAINER, WEIGHTS, State
from nucleus_model.checkpoints.lineage import SETS, differences, same_data, stored_settings
from nucleus_model.network.distributed import like, whole
from nucleus_model.network.transformer import NucleusTransformer
from nucleus_model.settings.settings import QuickTrainSettings

GENERATOR = "generator.cpu"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Locks a folder against other processes of this machine, while this process lives.

    This is needed as workers of a killed torchrun can live on.

    Raises:
        RequestError: Another process has locked it.
    """
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RequestError(
                f"another process is training in {folder}; wait for it to finish, or stop it"
            ) from None
        yield


class Checkpoints:
    """The checkpoints of a run, in folders `NNNNNN/` named by step; other folders are ignored.

    Args:
        folder: The folder that contains them.
        keep: Number of newest checkpoints to keep.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep

    def path(self, step: int) -> Path:
        """Returns the folder of a step's checkpoint."""
        return self.folder / f"{step:06d}"

    def all(self) -> list[Path]:
        """Returns the existing checkpoints, oldest first."""
        folders = [p for p in self.folder.glob("*") if re.fullmatch(r"\d{6,}", p.name)]
        return sorted(folders, key=lambda path: int(path.name))

    def newest(self) -> Path | None:
        """Returns the newest checkpoint from which a run can resume; None without checkpoints.

        Raises:
            ValueError: There are checkpoints, but none to resume from.
        """
        existing = self.all()
        for path in reversed(existing):
            if (path / TRAINER).exists():
                return path
        if existing:
            raise ValueError(
                f"{self.folder} has checkpoints of another run, which can't be continued without "
                f"{TRAINER}; choose another folder, or remove them"
            )
        return None

    def sweep(self) -> None:
        """Removes incomplete folders that a killed process left."""
        for path in self.folder.glob(".*"):
            shutil.rmtree(path, ignore_errors=True)

    def prune(self) -> None:
        """Removes all but the newest `keep` checkpoints, and the state of all but the newest."""
        found = self.all()
        # Renamed to a hidden folder first: a process killed during removal leaves no partial
        # checkpoint.
        for path in found[: -self.keep]:
            path.rename(hidden := path.with_name(f".{path.name}.old"))
            shutil.rmtree(hidden)
        # Optimizer state is as large as the weights, or twice as large, and only that of the newest
        # checkpoint is needed to resume.
        for path in found[-self.keep : -1]:
            for name in (TRAINER, STATE):
                (path / name).unlink(missing_ok=True)


def collect(
    model: NucleusTransformer,
    optimizers: Sequence[torch.optim.Optimizer],
    facts: Mapping[str, Any],
) -> tuple[dict[str, torch.Tensor], State]:
    """Gathers weights and state of a run; all processes must call.

    Args:
        model: The model.
        optimizers: Optimizers of its parameters.
        facts: JSON-able content of the state: step, position in the data, settings and so on.

    Returns:
        The weights, by name, and the state.
    """
    weights = {name: whole(tensor) for name, tensor in model.state_dict().items()}
    tensors = {GENERATOR: torch.get_rng_state()}
    for name, parameter in model.named_parameters():
        for key, value in _state_of(optimizers, parameter).items():
            tensors[f"{key}.{name}"] = whole(value)
    return weights, State(tensors, facts)


@torch.no_grad()
def load_weights(folder: Path, model: NucleusTransformer) -> None:
    """Copies a checkpoint's weights into a model, sharded or not."""
    from safetensors.torch import load_file

    weights = load_file(folder / WEIGHTS)
    for name, tensor in model.state_dict().items():
        tensor.copy_(like(weights[name], tensor))


def restore(
    folder: Path, model: NucleusTransformer, optimizers: Sequence[torch.optim.Optimizer]
) -> None:
    """Restores weights, optimizer state and torch's generator from a checkpoint."""
    from safetensors.torch import load_file

    load_weights(folder, model)
    tensors = load_file(folder / STATE)
    torch.set_rng_state(tensors.pop(GENERATOR))
    # By parameter name, never by an optimizer's own numbering, which depends on the groups.
    parameters = dict(model.named_parameters())
    owners = {
        id(parameter): optimizer
        for optimizer in optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    for full_name, tensor in tensors.items():
        key, _, name = full_name.partition(".")
        parameter = parameters[name]
        # AdamW's step counts are scalars: they are not sharded, and stay on the CPU.
        value = like(tensor, parameter) if tensor.ndim else tensor
        owners[id(parameter)].state[parameter][key] = value


def _state_of(
    optimizers: Sequence[torch.optim.Optimizer], parameter: torch.nn.Parameter
) -> dict[str, torch.Tensor]:
    for optimizer in optimizers:
        if parameter in optimizer.state:
            return dict(optimizer.state[parameter])
    return {}


def read_facts(folder: Path, settings: QuickTrainSettings, data: Sequence[str]) -> dict[str, Any]:
    """Reads a checkpoint's `trainer.json`, and rejects that of another run.

    The resumed run may have more steps: in the last phase, or in further phases.

    Args:
        folder: The checkpoint's folder.
        settings: Settings of the run that is to be resumed.
        data: Hashes of the samples that it trains on, by phase.

    Returns:
        The content; `extended` lists the steps after which the run was extended.

    Raises:
        ValueError: The checkpoint belongs to a run with other settings or data.
    """
    facts: dict[str, Any] = json.loads((folder / TRAINER).read_text(encoding="utf-8"))
    # Only settings that affect losses: a run may resume with other threads, grids or intervals.
    before = stored_settings(facts["settings"], str(folder))
    odd = differences(before, settings)
    if not same_data(facts["data"], data):
        old = not all(digest.startswith(SETS) for digest in facts["data"])
        odd.append(
            "the training set (in the old layout, with captions in its tars, which can't be "
            "continued)"
            if old
            else "the training set"
        )
    if odd:
        raise ValueError(
            f"{folder} is of a run with other settings: {', '.join(odd)}; continue with those, "
            "choose another folder, or remove it"
        )
    extended = facts.get("extended", [])
    if before.steps != settings.steps:
        extended = [*extended, facts["step"]]
    return {**facts, "extended": extended}

"""How a run goes on where it was killed: its newest checkpoint, optimizer state and position.

    checkpoints = Checkpoints(out / "checkpoints", keep=1)
    newest = checkpoints.newest()

Whatever a step is drawn from is keyed by the seed, the epoch and the ids, so the position in the
data is three numbers (`feed.Cursor`). Optimizer state and torch's generator (which nothing here
draws from, but a codec might) are tensors in `optimizer.safetensors`; nothing is pickled.
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
    """Holds a folder against other processes of this machine, as long as this one lives.

    (Workers of a torchrun that was killed live on.)

    Raises:
        RequestError: Another one holds it.
    """
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RequestError(
                f"another process is training in {folder}; wait until it is done, or end it"
            ) from None
        yield


class Checkpoints:
    """The checkpoints of a run, `NNNNNN/` by step; other folders beside them are left alone.

    Args:
        folder: Where they are.
        keep: How many of the newest stay.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep

    def path(self, step: int) -> Path:
        """Returns where the checkpoint of a step is."""
        return self.folder / f"{step:06d}"

    def all(self) -> list[Path]:
        """Returns the checkpoints that are there, oldest first."""
        found = [p for p in self.folder.glob("*") if re.fullmatch(r"\d{6,}", p.name)]
        return sorted(found, key=lambda path: int(path.name))

    def newest(self) -> Path | None:
        """Returns the newest checkpoint that a run can go on from, if there is one.

        Raises:
            ValueError: There are checkpoints, and none to go on from.
        """
        found = self.all()
        for path in reversed(found):
            if (path / TRAINER).exists():
                return path
        if found:
            raise ValueError(
                f"{self.folder} holds checkpoints of another run, without {TRAINER} to go on from; "
                "choose another folder, or remove them"
            )
        return None

    def sweep(self) -> None:
        """Removes what a killed process left half written."""
        for path in self.folder.glob(".*"):
            shutil.rmtree(path, ignore_errors=True)

    def prune(self) -> None:
        """Removes older checkpoints than are kept, and the state of all but the newest."""
        found = self.all()
        # Hidden first: a process that is killed amid a removal leaves no half checkpoint.
        for path in found[: -self.keep]:
            path.rename(hidden := path.with_name(f".{path.name}.old"))
            shutil.rmtree(hidden)
        # Optimizer state is as large as the weights or twice that, and only the newest is gone on
        # from.
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
        optimizers: Of its parameters.
        facts: JSON-able: step, position in the data, settings and so on.
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
    # By parameter name, never by an optimizer's own numbers, which other groups would change.
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
        # AdamW's step counts are single numbers; they are not sharded, and stay on the CPU.
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
    """Reads a checkpoint's `trainer.json`, and refuses that of another run.

    A run may have more steps now: in its last phase, or in further ones.

    Args:
        folder: The checkpoint.
        settings: Of the run that wants to go on.
        data: Hashes of the samples that it trains on, by phase.

    Returns:
        Its content; `extended` has the steps after which the run was given more.

    Raises:
        ValueError: It is of a run with other settings or data.
    """
    facts: dict[str, Any] = json.loads((folder / TRAINER).read_text(encoding="utf-8"))
    # Only settings that decide losses: a run may go on with other threads, grids or intervals.
    before = stored_settings(facts["settings"], str(folder))
    odd = differences(before, settings)
    if not same_data(facts["data"], data):
        old = not all(digest.startswith(SETS) for digest in facts["data"])
        odd.append(
            "the training set (of the older layout, with captions in its tars, which no run goes "
            "on with)"
            if old
            else "the training set"
        )
    if odd:
        raise ValueError(
            f"{folder} is of a run with other settings: {', '.join(odd)}; go on with those, choose "
            "another folder, or remove it"
        )
    extended = facts.get("extended", [])
    if before.steps != settings.steps:
        extended = [*extended, facts["step"]]
    return {**facts, "extended": extended}

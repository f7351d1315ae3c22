"""Writes and reads checkpoints. A checkpoint's folder is complete or does not exist.

| file | content |
|---|---|
| `model.safetensors` | the weights, float32, under diffusers' names |
| `checkpoint.json` | format, configuration, step, settings, origin |
| `optimizer.safetensors` | the tensors that `resume` needs; only in a run's newest checkpoint |
| `trainer.json` | everything else that `resume` needs; only in a run's newest checkpoint |

Nothing in it is pickled.
"""

import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from nucleus_model.network.transformer import NucleusTransformer
from nucleus_model.settings.config import TransformerConfig

FORMAT = 2
WEIGHTS, RECORD = "model.safetensors", "checkpoint.json"
STATE, TRAINER = "optimizer.safetensors", "trainer.json"


@dataclass(frozen=True)
class State:
    """The state that a run needs to resume, in addition to the weights.

    Attributes:
        tensors: Optimizer state and generator state, by name.
        facts: JSON-able content: step, position in the data, settings and so on.
    """

    tensors: Mapping[str, torch.Tensor]
    facts: Mapping[str, Any]


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Creates a folder atomically: yields a hidden one, and renames it when the context ends.

    Args:
        folder: The final folder; an existing one is replaced.

    Yields:
        The hidden folder to write to. If the context raises, it is removed.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    hidden = folder.with_name(f".{folder.name}.{os.getpid()}.{secrets.token_hex(4)}")
    hidden.mkdir()  # not by mkdtemp, which gives access to the owner only
    try:
        yield hidden
        # safetensors creates files that only the owner can read. They get the mode of the folder,
        # which follows the umask.
        mode = hidden.stat().st_mode & 0o666
        for path in hidden.rglob("*"):
            if path.is_file():
                path.chmod(mode)
        # Without the syncs, a crash could leave a renamed folder whose files are still empty.
        for path in (*hidden.rglob("*"), hidden):
            _sync(path)
        if folder.exists():  # a rename can't replace a folder that is not empty
            shutil.rmtree(folder)
        hidden.rename(folder)
        _sync(folder.parent)
    except BaseException:
        shutil.rmtree(hidden, ignore_errors=True)
        raise


def save_checkpoint(
    folder: Path,
    model: NucleusTransformer,
    record: Mapping[str, Any],
    *,
    weights: Mapping[str, torch.Tensor] | None = None,
    state: State | None = None,
) -> None:
    """Writes a checkpoint; an existing one is replaced.

    Args:
        folder: The checkpoint's folder.
        model: The model to save.
        record: Further JSON-able content of `checkpoint.json` (step, settings and so on).
        weights: Weights to save instead of the model's own (gathered or merged ones).
        state: The state that a run needs to resume; None for none.
    """
    from safetensors.torch import save_file

    with whole_folder(folder) as hidden:
        tensors = model.state_dict() if weights is None else weights
        save_file(_plain(tensors), hidden / WEIGHTS)
        content = {
            "format": FORMAT,
            "transformer": model.config.model_dump(mode="json"),
            **record,
        }
        write_json(hidden / RECORD, content)
        if state is not None:
            save_file(_plain(state.tensors), hidden / STATE)
            write_json(hidden / TRAINER, state.facts)


def load_checkpoint(folder: Path) -> tuple[NucleusTransformer, dict[str, Any]]:
    """Loads the transformer, on the CPU, and the content of `checkpoint.json`.

    Args:
        folder: The checkpoint's folder.

    Raises:
        FileNotFoundError: There is no checkpoint.
        ValueError: It has another format, or is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    record = read_record(folder)
    model = empty_model(folder, record)
    try:
        model.load_state_dict(load_file(weights_of(folder)), strict=True, assign=True)
    except (SafetensorError, RuntimeError) as error:  # RuntimeError: tensors that do not fit
        raise damaged(folder / WEIGHTS, error) from error
    return model.eval(), record


def empty_model(folder: Path, record: Mapping[str, Any]) -> NucleusTransformer:
    """Builds a checkpoint's transformer without weights, on the meta device (without memory).

    Args:
        folder: The checkpoint's folder, for the error message.
        record: The content of its `checkpoint.json`, from `read_record`.

    Raises:
        ValueError: The configuration is invalid.
    """
    try:
        config = TransformerConfig.model_validate(record["transformer"])
    except ValidationError as error:
        problems = "; ".join(
            f"transformer.{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
            for problem in error.errors()
        )
        raise ValueError(f"{folder / RECORD} has no valid configuration ({problems})") from None
    with torch.device("meta"):
        return NucleusTransformer(config)


def weights_of(folder: Path) -> Path:
    """Returns the path of a checkpoint's weights.

    Raises:
        FileNotFoundError: There is no such file. The error names it, as that of safetensors does
            not.
    """
    if not (file := folder / WEIGHTS).is_file():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(file))
    return file


def damaged(file: Path, why: object) -> ValueError:
    """Makes the error for a damaged file of a checkpoint."""
    first = str(why).strip().partition("\n")[0]
    return ValueError(f"{file} is damaged ({first}); restore a copy, or use another checkpoint")


def read_record(folder: Path) -> dict[str, Any]:
    """Reads the content of `checkpoint.json`.

    Args:
        folder: The checkpoint's folder.

    Raises:
        FileNotFoundError: There is no checkpoint.
        ValueError: It has another format, or is damaged.
    """
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise damaged(folder / RECORD, error) from error
    if not isinstance(record, dict):
        raise damaged(folder / RECORD, "it does not hold an object")
    if record.get("format") != FORMAT:
        raise ValueError(
            f"{folder} has the checkpoint format {record.get('format')}, "
            f"but this version reads {FORMAT}"
        )
    for name in ("transformer", "settings"):
        if not isinstance(record.get(name, None if name == "transformer" else {}), dict):
            raise damaged(folder / RECORD, f"its {name!r} is not an object")
    return record


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Writes JSON, sorted and indented, so that equal content gives equal bytes."""
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    file.write_text(text, encoding="utf-8")


def _plain(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

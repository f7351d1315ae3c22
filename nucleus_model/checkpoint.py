"""Checkpoints that are there whole or not at all: a folder that is renamed into place.

It holds `model.safetensors` and `checkpoint.json`; nothing in it is pickled.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from nucleus_model.config import TransformerConfig
from nucleus_model.transformer import NucleusTransformer

FORMAT = 2


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A hidden folder to write into, which takes the folder's name once all went well.

    Args:
        folder: The final one; if it is there, it is replaced.

    Yields:
        Where to write. It is removed if something is raised.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    hidden = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield hidden
        hidden.chmod(0o755)
        if folder.exists():  # a rename does not replace a folder that is not empty
            shutil.rmtree(folder)
        hidden.rename(folder)
    except BaseException:
        shutil.rmtree(hidden, ignore_errors=True)
        raise


def save_checkpoint(folder: Path, model: NucleusTransformer, record: dict[str, Any]) -> None:
    """Writes a checkpoint; one of the same name is replaced.

    Args:
        folder: The checkpoint's own folder.
        model: What to save.
        record: JSON-able facts (step, settings, where the text came from).
    """
    from safetensors.torch import save_file

    with whole_folder(folder) as hidden:
        tensors = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
        save_file(tensors, hidden / "model.safetensors")
        content = {
            "format": FORMAT,
            "transformer": model.config.model_dump(mode="json"),
            **record,
        }
        text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        (hidden / "checkpoint.json").write_text(text, encoding="utf-8")


def load_checkpoint(folder: Path) -> tuple[NucleusTransformer, dict[str, Any]]:
    """The transformer, on the CPU, and the content of `checkpoint.json`.

    Raises:
        FileNotFoundError: There is no checkpoint.
        ValueError: It has another format.
    """
    from safetensors.torch import load_file

    record = json.loads((folder / "checkpoint.json").read_text(encoding="utf-8"))
    if record.get("format") != FORMAT:
        raise ValueError(
            f"{folder} has the checkpoint format {record.get('format')}; "
            f"this version reads {FORMAT}"
        )
    with torch.device("meta"):
        model = NucleusTransformer(TransformerConfig.model_validate(record["transformer"]))
    model.load_state_dict(load_file(folder / "model.safetensors"), strict=True, assign=True)
    return model.eval(), record

"""Checkpoints that are there whole or not at all: a folder that is renamed into place.

It holds `model.safetensors` and `checkpoint.json`; nothing in it is pickled.
"""

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nucleus_model.init import build_transformer
from nucleus_model.presets import Preset

if TYPE_CHECKING:
    from diffusers.models.transformers.transformer_nucleusmoe_image import (
        NucleusMoEImageTransformer2DModel,
    )

FORMAT = 1


def save_checkpoint(
    folder: Path,
    model: "NucleusMoEImageTransformer2DModel",
    preset: Preset,
    record: dict[str, Any],
) -> None:
    """Writes a checkpoint; one of the same name is replaced.

    Args:
        folder: The checkpoint's own folder.
        model: What to save.
        preset: Its size.
        record: JSON-able facts (step, settings, where the text came from).
    """
    from safetensors.torch import save_file

    folder.parent.mkdir(parents=True, exist_ok=True)
    hidden = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        tensors = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
        save_file(tensors, hidden / "model.safetensors")
        content = {
            "format": FORMAT,
            "preset": preset.model_dump(mode="json"),
            "latent_channels": model.config["out_channels"],
            "text_width": model.config["joint_attention_dim"],
            **record,
        }
        text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        (hidden / "checkpoint.json").write_text(text, encoding="utf-8")
        hidden.chmod(0o755)
        if folder.exists():  # a rename does not replace a folder that is not empty
            shutil.rmtree(folder)
        hidden.rename(folder)
    except BaseException:
        shutil.rmtree(hidden, ignore_errors=True)
        raise


def load_checkpoint(folder: Path) -> tuple["NucleusMoEImageTransformer2DModel", dict[str, Any]]:
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
    model = build_transformer(
        Preset.model_validate(record["preset"]),
        latent_channels=record["latent_channels"],
        text_width=record["text_width"],
        seed=0,
    )
    model.load_state_dict(load_file(folder / "model.safetensors"), strict=True)
    return model.eval(), record

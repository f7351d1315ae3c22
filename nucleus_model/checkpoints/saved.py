"""Loads a transformer from a folder, with the text encoder and the codec of its training.

    saved = load_saved(Path("quick_train/checkpoints/000600"))

The folder is a checkpoint, or a pipeline in diffusers' layout (module `exchange`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nucleus_data.errors import RequestError
from nucleus_model.checkpoints.checkpoint import load_checkpoint
from nucleus_model.checkpoints.lineage import stored_settings
from nucleus_model.encoders.codec import Codec
from nucleus_model.encoders.load import load_codec, load_text_encoder
from nucleus_model.encoders.text import TextEncoder
from nucleus_model.network.transformer import NucleusTransformer
from nucleus_model.settings.settings import QuickTrainSettings

PIPELINE_RESOLUTION = 1024


@dataclass(frozen=True)
class Saved:
    """A loaded model, with everything needed to draw pictures.

    Attributes:
        name: The folder's name, without its path.
        model: The transformer, on the device.
        text: Its text encoder.
        codec: Its codec.
        resolution: Side, in pixels, of a square with the area of the training images.
    """

    name: str
    model: NucleusTransformer
    text: TextEncoder
    codec: Codec
    resolution: int

    @property
    def multiple(self) -> int:
        """The number of pixels that both sides of a picture must be multiples of."""
        return self.codec.factor * self.model.config.patch_size


def load_saved(folder: Path, device: str = "cpu") -> Saved:
    """Loads a checkpoint or a pipeline, with text encoder and codec.

    Args:
        folder: Folder of the checkpoint or of the pipeline.
        device: The torch device for all models.

    Raises:
        RequestError: The folder is neither a checkpoint nor a pipeline, or the text encoder, the
            VAE or the device does not exist.
        ValueError: It has another format, or is damaged.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch without CUDA
        first = str(error).partition("\n")[0]
        raise RequestError(f"device {device!r} can't be used: {first}; cpu always works") from error
    if (folder / "model_index.json").is_file():
        return _load_pipeline(folder, device)
    if not (folder / "checkpoint.json").is_file():
        raise RequestError(
            f"{folder} is neither a checkpoint (it has no checkpoint.json) nor a pipeline in "
            "diffusers' layout (it has no model_index.json)"
        )
    model, record = load_checkpoint(folder)
    if lacking := [name for name in ("settings", "resolution") if name not in record]:
        raise RequestError(
            f"{folder}/checkpoint.json lacks what drawing needs: {', '.join(lacking)}; use a "
            "checkpoint written by quick-train"
        )
    settings = settings_of(record, device)
    codec, text = load_codec(settings), load_text_encoder(settings)
    return Saved(folder.resolve().name, model.to(device), text, codec, record["resolution"])


def settings_of(record: dict[str, Any], device: str = "cpu") -> QuickTrainSettings:
    """Returns the settings that a checkpoint was trained with, on another device.

    Args:
        record: The content of `checkpoint.json`.
        device: The device to set.

    Raises:
        ValueError: This version does not know a setting, or rejects a value.
    """
    return stored_settings({**record["settings"], "device": device}, "checkpoint.json")


def _load_pipeline(folder: Path, device: str) -> Saved:
    from nucleus_model.checkpoints.exchange import load_transformer, read_notes
    from nucleus_model.encoders.vae import VaeCodec

    text, resolution = read_notes(folder)
    return Saved(
        folder.resolve().name,
        load_transformer(folder).to(device),
        TextEncoder(text, device),
        VaeCodec(str(folder / "vae"), device=device),
        resolution or PIPELINE_RESOLUTION,
    )

"""Exports a checkpoint of the quick-train as a folder that diffusers' pipeline can load."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from nucleus_data.errors import RequestError
from nucleus_model.checkpoints.checkpoint import load_checkpoint
from nucleus_model.checkpoints.exchange import SHARD_BYTES, save_pipeline, save_transformer
from nucleus_model.checkpoints.saved import settings_of
from nucleus_model.settings.settings import QuickTrainSettings

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def export(
    checkpoint: Path,
    out: Path,
    *,
    precision: str = "float32",
    shard_bytes: int = SHARD_BYTES,
    transformer_only: bool = False,
) -> dict[str, Any]:
    """Writes a checkpoint as a pipeline, or only its transformer.

    Args:
        checkpoint: The checkpoint's folder.
        out: The folder to write; an existing one is replaced.
        precision: Precision of the transformer, a key of `PRECISIONS`.
        shard_bytes: Maximum size of a file of weights, in bytes.
        transformer_only: Whether to write only what
            `NucleusMoEImageTransformer2DModel.from_pretrained` loads.

    Returns:
        Arguments for the pipeline's call, as `save_pipeline` returns them; empty for the
        transformer alone.

    Raises:
        RequestError: There is no checkpoint, its codec is not a VAE, or a model that it was trained
            with does not exist.
        ValueError: It has another format, or is damaged.
    """
    if not (checkpoint / "checkpoint.json").is_file():
        raise RequestError(f"{checkpoint} is not a checkpoint: it has no checkpoint.json")
    model, record = load_checkpoint(checkpoint)
    settings, dtype = settings_of(record), PRECISIONS[precision]
    if transformer_only:
        save_transformer(out, model, dtype=dtype, shard_bytes=shard_bytes)
        return {}
    if settings.codec != "vae":
        raise RequestError(
            f"{checkpoint} was trained with quick_train.codec={settings.codec}, whose latents no "
            "VAE of diffusers can decode; train with quick_train.codec=vae, or export only the "
            "transformer (--transformer-only)"
        )
    return save_pipeline(
        out,
        model,
        settings.text,
        settings.vae,
        settings.vae_revision,
        resolution=record["resolution"],
        dtype=dtype,
        shard_bytes=shard_bytes,
        about=_about(checkpoint.name, record, settings),
    )


def _about(name: str, record: Mapping[str, Any], settings: QuickTrainSettings) -> str:
    steps = f", step {record['step']} of {settings.steps}" if "step" in record else ""
    return f"Checkpoint {name} of a training of the preset {settings.preset}{steps}."

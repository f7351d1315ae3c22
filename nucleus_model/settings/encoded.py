"""Defines what stored latents and text states depend on, for the config hashes of their folders.

The set, and with it the pictures and their crops, is not part of the hash: the folders are inside
the set's folder. This module needs no torch.
"""

from collections.abc import Collection, Mapping
from typing import Any

from nucleus_data.engines.find import TEXT_ENCODER, VAE, resolve_model
from nucleus_model.settings.settings import QuickTrainSettings

LATENTS_VERSION = 1
TEXTS_VERSION = 2  # 2: checksums also cover the key, and whether the text was truncated


def latents_identity(settings: QuickTrainSettings, resolution: int, dtype: str) -> dict[str, Any]:
    """Returns what a set's latents depend on, as JSON.

    Args:
        settings: The run's settings.
        resolution: The set's resolution, in pixels.
        dtype: Stored dtype: fp32, bf16 or fp16.

    Raises:
        RequestError: The VAE does not exist.
    """
    if settings.codec == "vae":
        vae = resolve_model(settings.vae, settings.vae_revision, VAE)
        codec: dict[str, Any] = {"vae": vae.name, "revision": vae.revision}
    else:
        codec = {"factor": settings.codec_factor}
    return {
        "kind": "latents",
        "version": LATENTS_VERSION,
        "codec": settings.codec,
        **codec,
        "resolution": resolution,
        "dtype": dtype,
    }


def texts_identity(settings: QuickTrainSettings, edition: str, dtype: str) -> dict[str, Any]:
    """Returns what the text states of a caption edition depend on, as JSON.

    Args:
        settings: The run's settings.
        edition: Config hash of the edition.
        dtype: Stored dtype: fp32, bf16 or fp16.

    Raises:
        RequestError: The text encoder does not exist.
    """
    text = settings.text
    model = resolve_model(text.model, text.revision, TEXT_ENCODER)
    return {
        "kind": "texts",
        "version": TEXTS_VERSION,
        "model": model.name,
        "revision": model.revision,
        **{name: getattr(text, name) for name in ("hidden_state", "max_tokens", "system_prompt")},
        "edition": edition,
        "dtype": dtype,
    }


def is_for(settings: QuickTrainSettings, about: Mapping[str, Any], dtypes: Collection[str]) -> bool:
    """Returns whether stored values match the settings of a training.

    Args:
        settings: Settings of the training.
        about: Content of the folder's `encoded.json`.
        dtypes: Dtypes that the training accepts.

    Raises:
        RequestError: The VAE or the text encoder does not exist.
    """
    identity = {name: value for name, value in about.items() if name != "parts"}
    dtype = str(identity.get("dtype"))
    if dtype not in dtypes:
        return False
    if identity.get("kind") == "latents":
        return identity == latents_identity(settings, int(identity.get("resolution", 0)), dtype)
    return identity == texts_identity(settings, str(identity.get("edition")), dtype)

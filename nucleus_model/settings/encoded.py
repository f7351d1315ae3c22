"""What encoded pictures and texts depend on: the config hashes of their folders. Free of torch.

Which set it is, and so the pictures with their crops, says the folder that they lie in.
"""

from collections.abc import Collection, Mapping
from typing import Any

from nucleus_data.engines.find import TEXT_ENCODER, VAE, resolve_model
from nucleus_model.settings.settings import QuickTrainSettings

LATENTS_VERSION = 1
TEXTS_VERSION = 2  # 2: checksums are of the key and of whether the text was cut, too


def latents_identity(settings: QuickTrainSettings, resolution: int, dtype: str) -> dict[str, Any]:
    """What a set's latents at a resolution depend on.

    Raises:
        RequestError: There is no such VAE.
    """
    if settings.codec == "vae":
        found = resolve_model(settings.vae, settings.vae_revision, VAE)
        codec: dict[str, Any] = {"vae": found.name, "revision": found.revision}
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
    """What the states of a caption edition's texts depend on.

    Args:
        settings: The run's.
        edition: Config hash of the edition.
        dtype: Of the numbers.

    Raises:
        RequestError: There is no such text encoder.
    """
    text = settings.text
    found = resolve_model(text.model, text.revision, TEXT_ENCODER)
    return {
        "kind": "texts",
        "version": TEXTS_VERSION,
        "model": found.name,
        "revision": found.revision,
        **{name: getattr(text, name) for name in ("hidden_state", "max_tokens", "system_prompt")},
        "edition": edition,
        "dtype": dtype,
    }


def is_for(settings: QuickTrainSettings, about: Mapping[str, Any], dtypes: Collection[str]) -> bool:
    """Whether encoded values are those of a training.

    Args:
        settings: The training's.
        about: What their folder says of itself.
        dtypes: Precisions that the training takes.

    Raises:
        RequestError: There is no such VAE or text encoder (any more).
    """
    said = {name: value for name, value in about.items() if name != "parts"}
    dtype = str(said.get("dtype"))
    if dtype not in dtypes:
        return False
    if said.get("kind") == "latents":
        return said == latents_identity(settings, int(said.get("resolution", 0)), dtype)
    return said == texts_identity(settings, str(said.get("edition")), dtype)

"""What encoded pictures and texts depend on: the config hashes of their folders. Free of torch.

Which set it is, and so the pictures with their crops, says the folder that they lie in.
"""

from typing import Any

from nucleus_data.engines.find import TEXT_ENCODER, VAE, resolve_model
from nucleus_model.settings.settings import QuickTrainSettings

VERSION = 1


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
        "version": VERSION,
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
        "version": VERSION,
        "model": found.name,
        "revision": found.revision,
        **{name: getattr(text, name) for name in ("hidden_state", "max_tokens", "system_prompt")},
        "edition": edition,
        "dtype": dtype,
    }

"""Loads the codec and the text encoder that a run's settings name."""

from nucleus_model.encoders.codec import Codec, SpaceToDepth
from nucleus_model.encoders.text import TextEncoder
from nucleus_model.settings.settings import QuickTrainSettings


def load_codec(settings: QuickTrainSettings) -> Codec:
    """Loads the codec, on the settings' device.

    Args:
        settings: The settings; `codec`, `codec_factor`, `vae`, `vae_revision` and `device` are
            used.

    Raises:
        RequestError: There is no such VAE.
    """
    if settings.codec == "vae":
        # diffusers takes seconds to import, and space-to-depth does not need it.
        from nucleus_model.encoders.vae import VaeCodec

        return VaeCodec(settings.vae, settings.vae_revision, settings.device)
    return SpaceToDepth(settings.codec_factor)


def load_text_encoder(settings: QuickTrainSettings) -> TextEncoder:
    """Loads the text encoder, on the settings' device.

    Args:
        settings: The settings; `text` and `device` are used.

    Raises:
        RequestError: The model does not exist, is of an unsupported type, or lacks the configured
            hidden state.
    """
    return TextEncoder(settings.text, settings.device)

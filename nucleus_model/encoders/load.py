"""The codec and the text encoder that a run's settings name."""

from nucleus_model.encoders.codec import Codec, SpaceToDepth
from nucleus_model.encoders.text import TextEncoder
from nucleus_model.settings.settings import QuickTrainSettings


def load_codec(settings: QuickTrainSettings) -> Codec:
    """Loads the codec, on the settings' device.

    Args:
        settings: `codec`, `codec_factor`, `vae`, `vae_revision` and `device`.

    Raises:
        RequestError: There is no such VAE.
    """
    if settings.codec == "vae":
        # diffusers takes seconds to import, and space-to-depth does without it.
        from nucleus_model.encoders.vae import VaeCodec

        return VaeCodec(settings.vae, settings.vae_revision, settings.device)
    return SpaceToDepth(settings.codec_factor)


def load_text_encoder(settings: QuickTrainSettings) -> TextEncoder:
    """Loads the text encoder, on the settings' device.

    Args:
        settings: `text` and `device`.

    Raises:
        RequestError: There is no such model, it is of no type that can be read, or it has fewer
            hidden states than asked for.
    """
    return TextEncoder(settings.text, settings.device)

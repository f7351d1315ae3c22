"""The encoders of a worker process: loaded once, however many items it does. Imports torch."""

from contextlib import AbstractContextManager
from typing import Any

import torch

from nucleus_model.data.stored_values import TORCH
from nucleus_model.encoders.codec import Codec
from nucleus_model.encoders.load import load_codec, load_text_encoder
from nucleus_model.encoders.text import TextEncoder
from nucleus_model.settings.settings import QuickTrainSettings
from nucleus_model.training.determinism import deterministic

_loaded: dict[str, Any] = {}


def codec_of(settings: QuickTrainSettings) -> Codec:
    """The codec of a training."""
    names = {"codec", "codec_factor", "vae", "vae_revision", "device"}
    key = settings.model_dump_json(include=names)
    if key not in _loaded:
        _loaded[key] = load_codec(settings)
    found: Codec = _loaded[key]
    return found


def text_encoder_of(settings: QuickTrainSettings) -> TextEncoder:
    """The text encoder of a training, which keeps no states."""
    text = settings.text.model_copy(update={"cache_bytes": 0})
    key = text.model_dump_json() + settings.device
    if key not in _loaded:
        _loaded[key] = load_text_encoder(settings.model_copy(update={"text": text}))
    found: TextEncoder = _loaded[key]
    return found


def encoding(settings: QuickTrainSettings) -> AbstractContextManager[None]:
    """Threads and kernels as the training has them, so that it gets the same bits."""
    return deterministic(settings.threads, settings.device, settings.seed)


def as_bytes(values: torch.Tensor, dtype: str) -> bytes:
    """The bytes of numbers in a precision of `sets.encoded.DTYPES`."""
    kept = values.detach().to(TORCH[dtype]).cpu().contiguous()
    return kept.view(torch.uint8).numpy().tobytes()

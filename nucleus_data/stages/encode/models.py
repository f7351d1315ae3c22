"""Loads the encoders of a worker process, once for all of its items; imports torch."""

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
    """Returns the codec of a training, loading it on first use."""
    names = {"codec", "codec_factor", "vae", "vae_revision", "device"}
    key = settings.model_dump_json(include=names)
    if key not in _loaded:
        _loaded[key] = load_codec(settings)
    codec: Codec = _loaded[key]
    return codec


def text_encoder_of(settings: QuickTrainSettings) -> TextEncoder:
    """Returns the text encoder of a training, without its cache, loading it on first use."""
    text = settings.text.model_copy(update={"cache_bytes": 0})
    key = text.model_dump_json() + settings.device
    if key not in _loaded:
        _loaded[key] = load_text_encoder(settings.model_copy(update={"text": text}))
    encoder: TextEncoder = _loaded[key]
    return encoder


def encoding(settings: QuickTrainSettings) -> AbstractContextManager[None]:
    """Returns a context with the training's threads and kernels, to compute the same bits."""
    return deterministic(settings.threads, settings.device, settings.seed)


def as_bytes(values: torch.Tensor, dtype: str) -> bytes:
    """Returns the bytes of a tensor in a precision of `sets.encoded.DTYPES`."""
    kept = values.detach().to(TORCH[dtype]).cpu().contiguous()
    return kept.view(torch.uint8).numpy().tobytes()

"""Latents of a training set's images, each encoded once as long as there is room for it."""

import torch

from nucleus_model.data.loader import Batch
from nucleus_model.encoders.cache import Cache
from nucleus_model.encoders.codec import Codec


class Latents:
    """Encodes a set's images, each by itself, and remembers the latents by the sample's id.

    Args:
        codec: What encodes.
        cache_bytes: Memory for latents, in bytes.
    """

    def __init__(self, codec: Codec, cache_bytes: int = 256 << 20) -> None:
        self.codec = codec
        self._cache: Cache[torch.Tensor] = Cache(cache_bytes)

    def of(self, batch: Batch) -> torch.Tensor:
        """Returns a batch's latents, float32 (B, channels, H / factor, W / factor)."""
        images = torch.from_numpy(batch.images)
        return torch.cat(
            [
                self._cache.get(sample.id, lambda i=i: self.codec.encode(images[i : i + 1]))  # type: ignore[misc]
                for i, sample in enumerate(batch.samples)
            ]
        )

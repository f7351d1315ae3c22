"""Latents of a training set's images, encoded on demand and cached."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from nucleus_model.encoders.cache import Cache
from nucleus_model.encoders.codec import Codec


class Images(Protocol):
    """Decoded images and their ids."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the B images."""

    @property
    def images(self) -> NDArray[np.uint8]:
        """The images, (B, height, width, 3)."""


class Latents:
    """Encodes a set's images, and caches the latents by sample id.

    Args:
        codec: The encoder.
        cache_bytes: Memory for latents, in bytes.
        together: Whether to encode all uncached images of a batch at once, which is faster on a
            GPU. One by one, an image's latents do not depend on its batch, to the last bit.
    """

    def __init__(
        self, codec: Codec, cache_bytes: int = 256 << 20, *, together: bool = False
    ) -> None:
        self.codec, self.together = codec, together
        self._cache: Cache[torch.Tensor] = Cache(cache_bytes)

    def of(self, batch: Images, stored: Sequence[torch.Tensor | None] = ()) -> torch.Tensor:
        """Returns a batch's latents, float32 (B, channels, H / factor, W / factor).

        Args:
            batch: The images.
            stored: The stored latent of each image, (1, channels, ...), or None to encode it.
        """
        if any(latent is not None for latent in stored):
            return torch.cat(
                [
                    self._cache.get(ident, lambda i=i: self._alone(batch, i)).cpu()  # type: ignore[misc]
                    if latent is None
                    else latent
                    for i, (ident, latent) in enumerate(zip(batch.ids, stored, strict=True))
                ]
            )
        images = torch.from_numpy(batch.images)
        new: dict[str, torch.Tensor] = {}
        if self.together:
            missing = [i for i, ident in enumerate(batch.ids) if ident not in self._cache]
            if missing:
                encoded = self.codec.encode(images[missing])
                # Cloned, so that a cached latent does not keep its whole batch in memory.
                new = {batch.ids[i]: encoded[n : n + 1].clone() for n, i in enumerate(missing)}

        def make(place: int) -> torch.Tensor:
            ident = batch.ids[place]
            return new[ident] if ident in new else self._alone(batch, place)

        return torch.cat(
            [
                self._cache.get(ident, lambda i=i: make(i))  # type: ignore[misc]
                for i, ident in enumerate(batch.ids)
            ]
        )

    def _alone(self, batch: Images, place: int) -> torch.Tensor:
        """Encodes one image of a batch, (1, channels, ...)."""
        return self.codec.encode(torch.from_numpy(batch.images[place : place + 1]))

"""Samples, decoded batches and aspect buckets of a training set."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nucleus_model.data.draws import Numbers


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample: the location of its picture, how to crop and scale it, its captions.

    Attributes:
        id: Record id.
        tar: Path of the tar below the set's folder.
        offset: First byte of the picture in the tar.
        size: Bytes of the picture.
        captions: Captions from lowest to highest quality; may be empty.
        sources: Source of each caption, such as `web` or `synthesized:short`.
        aspect: Name of the aspect bucket.
        width: Target width in pixels.
        height: Target height in pixels.
        crop: Left, top, right, bottom in pixels of the upright original; None if the stored
            picture already has the target size.
    """

    id: str
    tar: str
    offset: int
    size: int
    captions: tuple[str, ...]
    sources: tuple[str, ...]
    aspect: str
    width: int
    height: int
    crop: tuple[int, ...] | None

    @property
    def bucket(self) -> tuple[int, int]:
        """Target width and height in pixels: the aspect bucket."""
        return self.width, self.height


@dataclass(frozen=True, slots=True)
class Batch:
    """Decoded samples of one aspect bucket.

    Attributes:
        ids: Ids of the B samples.
        images: uint8 (B, height, width, 3), sRGB.
        captions: One per sample; empty if it was dropped.
    """

    ids: tuple[str, ...]
    images: NDArray[np.uint8]
    captions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bucket:
    """An aspect bucket of a set.

    Attributes:
        width: Width in pixels.
        height: Height in pixels.
        aspect: Name of the aspect ratio.
        tars: Numbers of its tars.
        samples: Number of samples.
    """

    width: int
    height: int
    aspect: str
    tars: Numbers
    samples: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, in pixels."""
        return self.width, self.height

"""A training set: its samples, and their images, decoded; `feed` says which of them when.

A set is opened by its manifest, its tars' indexes and one caption edition; no tar is read for that.
Images are read by range, so an epoch is a true shuffle of the whole set whatever tar a sample is
in. The trade-off is memory for the captions.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nucleus_data.corpus.store import Store
from nucleus_data.errors import CorpusError
from nucleus_data.pixels import PixelError, open_picture
from nucleus_data.sets.index import index_name
from nucleus_data.sets.layout import SetFolder, TarEntry
from nucleus_model.encoders.cache import Cache


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample: where its image lies, how it is cut and scaled, its captions.

    Attributes:
        id: Record id.
        tar: Path of the tar below the set's folder.
        offset: First byte of the image in the tar.
        size: Bytes of the image.
        captions: Lowest to highest quality; may be empty.
        sources: Where each caption comes from, such as `web` or `synthesized:short`.
        aspect: Name of the aspect bucket.
        width: Target width in pixels.
        height: Target height in pixels.
        crop: Left, top, right, bottom in pixels of the oriented original.
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
    crop: tuple[int, int, int, int]

    @property
    def bucket(self) -> tuple[int, int]:
        """Target width and height in pixels: the aspect bucket."""
        return self.width, self.height


@dataclass(frozen=True, slots=True)
class Batch:
    """Decoded samples of one aspect bucket.

    Attributes:
        samples: The B samples.
        images: uint8 (B, height, width, 3), sRGB.
        captions: One a sample; empty where it was dropped.
    """

    samples: tuple[Sample, ...]
    images: np.ndarray
    captions: tuple[str, ...]


class TrainingSet:
    """A published training set at one resolution.

    Args:
        folder: Local path or fsspec URL of the folder that holds `manifest.parquet`.
        resolution: Which of the set's resolutions; None for the smallest.
        edition: Name or config hash of the captions; None for the only edition.
        storage_options: For fsspec.
        cache_bytes: Memory for decoded images, in bytes; the rest is decoded again when it is next
            needed.

    Attributes:
        samples: Those that have a caption, in order of id.
        edition: The captions.
        without: How many samples have no caption in the edition, and are left out.
        failures: Samples whose image could not be decoded: id to reason. They are left out of their
            batch.

    Raises:
        CorpusError: There is no manifest, or an index is not as the manifest says.
        RequestError: There is no such edition, or several.
        ValueError: The set does not have the resolution.
    """

    def __init__(
        self,
        folder: str,
        *,
        resolution: int | None = None,
        edition: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
        cache_bytes: int = 1 << 30,
    ) -> None:
        self.store = Store(folder, storage_options)
        self.failures: dict[str, str] = {}
        self.without = 0
        self._images: Cache[np.ndarray] = Cache(cache_bytes)
        self._folder = SetFolder(self.store)
        entries = self._folder.manifest()
        found = sorted({entry.resolution for entry in entries})
        if resolution is not None and resolution not in found:
            raise ValueError(
                f"resolution: {folder} has no resolution {resolution}; allowed here: "
                f"{', '.join(map(str, found)) or 'none, the set is empty'}"
            )
        self.resolution = resolution if resolution is not None else min(found, default=0)
        self.edition = self._folder.edition(edition)
        by_id: dict[str, Sample] = {}
        for entry in sorted(entries, key=lambda entry: entry.path):
            if entry.resolution == self.resolution:
                for sample in self._samples(entry):
                    if sample.id in by_id:
                        raise CorpusError(
                            f"{folder}: sample {sample.id} is in {by_id[sample.id].tar} and in "
                            f"{sample.tar}; write the set again"
                        )
                    by_id[sample.id] = sample
        # An epoch's order follows their ids alone, whatever tar they are in.
        self.samples: tuple[Sample, ...] = tuple(by_id[key] for key in sorted(by_id))

    def image(self, sample: Sample) -> np.ndarray:
        """Returns the sample's image, cropped and resized: uint8 (height, width, 3).

        Raises:
            PixelError: It cannot be decoded.
        """
        return self._images.get(sample.id, lambda: self._decoded(sample))

    def _decoded(self, sample: Sample) -> np.ndarray:
        data = self.store.read_range(sample.tar, sample.offset, sample.size)
        return open_picture(data).rgb(crop=sample.crop, size=sample.bucket)

    def batch(self, samples: Sequence[Sample], captions: Sequence[str]) -> Batch | None:
        """Decodes samples of one bucket.

        Args:
            samples: The samples.
            captions: One a sample.

        Returns:
            Those that could be decoded, the others are noted in `failures`; None if none could.
        """
        images, good = [], []
        for sample, caption in zip(samples, captions, strict=True):
            try:
                images.append(self.image(sample))
            except (PixelError, ValueError) as error:  # ValueError: the crop leaves the image
                self.failures[sample.id] = f"{sample.tar}: {error}"
            else:
                good.append((sample, caption))
        if not good:
            return None
        kept, texts = zip(*good, strict=True)
        return Batch(kept, np.stack(images), texts)

    def _samples(self, entry: TarEntry) -> Iterator[Sample]:
        """The samples of a tar that have a caption."""
        url = self.store.url(index_name(entry.path))
        try:
            index = self._folder.index(entry.path)
            texts = self.edition.captions(entry.path)
        except FileNotFoundError as error:
            raise CorpusError(
                f"{url}, or its captions, are missing; write the set again"
            ) from error
        if index.num_rows != entry.samples:
            raise CorpusError(
                f"{url} has {index.num_rows} samples, the manifest says {entry.samples}; write the "
                "set again"
            )
        if not texts.column("id").equals(index.column("id")):
            raise CorpusError(
                f"{self.store.url(self.edition.file(entry.path))} has other samples than the tar; "
                "remove the edition's folder, and run nucleus shard"
            )
        captions, sources = texts.column("captions"), texts.column("caption_sources")
        for row, said, origins in zip(
            index.to_pylist(), captions.to_pylist(), sources.to_pylist(), strict=True
        ):
            if not said:
                self.without += 1
                continue
            if not 0 <= row["offset"] <= entry.bytes - row["size"]:
                raise CorpusError(f"{url}: {row['id']} lies outside of its tar")
            stored = (row["width"], row["height"])
            # What has the bucket's size is cut and scaled already.
            ready = stored == (entry.width, entry.height)
            yield Sample(
                id=row["id"],
                tar=entry.path,
                offset=row["offset"],
                size=row["size"],
                captions=tuple(said),
                sources=tuple(origins),
                aspect=entry.aspect,
                width=entry.width,
                height=entry.height,
                crop=(0, 0, *stored) if ready else tuple(row["crop"]),
            )

"""A training set: its samples, and their images, decoded; `feed` says which of them when.

The set's tars are read once, in one pass each, to check them against the manifest and to note where
each image lies; after that, images are read by range, so an epoch is a true shuffle of the whole
set whatever tar a sample is in. The trade-off is memory for the captions and one pass before the
first step; for a set of many terabytes another loader has to come.

The reader is `tarfile` in streaming mode: it takes regular files with an image's or `.json` ending
as bytes and leaves all else alone. webdataset's reader would hide the offsets, and its decoders can
unpickle.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from pydantic import BaseModel, Field, ValidationError

from nucleus_data.corpus.store import Store
from nucleus_data.errors import CorpusError
from nucleus_data.pixels import PixelError, open_picture
from nucleus_data.sets.layout import MANIFEST
from nucleus_model.encoders.cache import Cache

IMAGE_SUFFIXES = {"jpg", "jpeg", "png", "webp", "avif", "gif", "bmp", "tif", "tiff"}
READ_BLOCK = 8 << 20
MANIFEST_COLUMNS = ("path", "resolution", "width", "height", "samples", "bytes", "sha256")


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


class _SampleInfo(BaseModel):
    """The fields of a sample's `.json` that the loader reads."""

    id: str
    captions: list[str]
    caption_sources: list[str] = []
    target_width: int = Field(ge=1)
    target_height: int = Field(ge=1)
    crop: tuple[int, int, int, int]


class TrainingSet:
    """A published training set at one resolution.

    Args:
        folder: Local path or fsspec URL of the folder that holds `manifest.parquet`.
        resolution: Which of the set's resolutions; None for the smallest.
        storage_options: For fsspec.
        cache_bytes: Memory for decoded images, in bytes; the rest is decoded again when it is next
            needed.

    Attributes:
        samples: In order of id.
        failures: Samples whose image could not be decoded: id to reason. They are left out of their
            batch.
        ignored: Tar members that are neither an image nor `.json` (such as the `.txt`).

    Raises:
        CorpusError: There is no manifest, or a tar is not the one that the manifest describes.
        ValueError: The set does not have the resolution.
    """

    def __init__(
        self,
        folder: str,
        *,
        resolution: int | None = None,
        storage_options: Mapping[str, Any] | None = None,
        cache_bytes: int = 1 << 30,
    ) -> None:
        self.store = Store(folder, storage_options)
        self.failures: dict[str, str] = {}
        self.ignored = 0
        self._images: Cache[np.ndarray] = Cache(cache_bytes)
        # Samples are indexed by id, whatever tar they are in, so that an epoch's order can follow
        # their ids alone.
        rows = self._manifest()
        found = sorted({int(row["resolution"]) for row in rows})
        if resolution is not None and resolution not in found:
            raise ValueError(
                f"resolution: {folder} has no resolution {resolution}; allowed here: "
                f"{', '.join(map(str, found)) or 'none, the set is empty'}"
            )
        self.resolution = resolution if resolution is not None else min(found, default=0)
        by_id: dict[str, Sample] = {}
        for row in rows:
            if int(row["resolution"]) == self.resolution:
                for sample in self._index(row):
                    if sample.id in by_id:
                        raise CorpusError(
                            f"{folder}: sample {sample.id} is in {by_id[sample.id].tar} and in "
                            f"{sample.tar}; write the set again"
                        )
                    by_id[sample.id] = sample
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

    def _manifest(self) -> list[dict[str, Any]]:
        url = self.store.url(MANIFEST)
        try:
            table = pq.read_table(io.BytesIO(self.store.read(MANIFEST)))
        except FileNotFoundError as error:
            raise CorpusError(
                f"{url} is missing: the folder is no training set, or one that was not finished; "
                "run the stage shard (again)"
            ) from error
        missing = [name for name in MANIFEST_COLUMNS if name not in table.column_names]
        if missing:
            raise CorpusError(
                f"{url} lacks the columns {', '.join(missing)}; it has "
                f"{', '.join(table.column_names)}; write the set again"
            )
        rows = table.to_pylist()
        for row in rows:
            # A manifest may come from anywhere; a path must not read outside of the set.
            path = PurePosixPath(row["path"])
            if path.is_absolute() or ".." in path.parts:
                raise CorpusError(f"{url}: the path {row['path']!r} leads out of the set")
        return sorted(rows, key=lambda row: row["path"])

    def _index(self, row: Mapping[str, Any]) -> list[Sample]:
        url = self.store.url(row["path"])
        reader = _HashingReader(self.store, row["path"], row["bytes"])
        images: dict[str, tuple[int, int]] = {}
        infos: dict[str, bytes] = {}
        try:
            if (size := self.store.size(row["path"])) != row["bytes"]:
                raise tarfile.ReadError(f"it has {size} bytes, the manifest says {row['bytes']}")
            # In streaming mode, so that the one pass also hashes every byte.
            with tarfile.open(fileobj=reader, mode="r|") as tar:
                for member in tar:
                    key, _, suffix = PurePosixPath(member.name).name.partition(".")
                    # Links lead elsewhere, and a sparse file's bytes are not one stretch.
                    if not member.isfile() or member.issparse():
                        self.ignored += 1
                    elif suffix.lower() in IMAGE_SUFFIXES and key not in images:
                        images[key] = (member.offset_data, member.size)
                    elif suffix == "json" and key not in infos:
                        file = tar.extractfile(member)
                        infos[key] = file.read() if file else b""
                    else:
                        self.ignored += 1
        except (tarfile.TarError, FileNotFoundError) as error:
            raise CorpusError(f"{url} cannot be read: {error}; write the set again") from error
        if (digest := reader.finish()) != row["sha256"]:
            raise CorpusError(
                f"{url} is not the tar of the manifest: SHA-256 {digest}, expected "
                f"{row['sha256']}; write the set again"
            )
        if images.keys() != infos.keys() or len(infos) != row["samples"]:
            odd = ", ".join(sorted(images.keys() ^ infos.keys())[:3]) or "none"
            raise CorpusError(
                f"{url} has {len(images)} images and {len(infos)} .json, the manifest says "
                f"{row['samples']} samples; unpaired: {odd}; write the set again"
            )
        return [_sample(url, row, key, infos[key], images[key]) for key in infos]


def _sample(
    url: str, row: Mapping[str, Any], key: str, info: bytes, place: tuple[int, int]
) -> Sample:
    try:
        parsed = _SampleInfo.model_validate(json.loads(info))
    except (ValueError, ValidationError) as error:
        raise CorpusError(f"{url}: {key}.json is not as it should be: {error}") from error
    # Whatever belongs to another image would train without an error and spoil the captions.
    if parsed.id != key:
        raise CorpusError(f"{url}: {key}.json says that its id is {parsed.id!r}")
    if len(parsed.caption_sources) not in (0, len(parsed.captions)):
        raise CorpusError(
            f"{url}: sample {parsed.id} has {len(parsed.captions)} captions and "
            f"{len(parsed.caption_sources)} caption_sources; write the set again"
        )
    if (parsed.target_width, parsed.target_height) != (row["width"], row["height"]):
        raise CorpusError(
            f"{url}: sample {parsed.id} is for {parsed.target_width} x {parsed.target_height}, its "
            f"aspect bucket is {row['width']} x {row['height']}; write the set again"
        )
    return Sample(
        id=parsed.id,
        tar=row["path"],
        offset=place[0],
        size=place[1],
        captions=tuple(parsed.captions),
        sources=tuple(parsed.caption_sources) or ("",) * len(parsed.captions),
        aspect=str(row.get("aspect") or f"{row['width']}x{row['height']}"),
        width=parsed.target_width,
        height=parsed.target_height,
        crop=parsed.crop,
    )


class _HashingReader(io.RawIOBase):
    """Reads an object of a store once, from start to end, and hashes what goes by."""

    def __init__(self, store: Store, name: str, size: int) -> None:
        self.store = store
        self.object = name
        self.left = size
        self.place = 0
        self.hash = hashlib.sha256()
        self.block = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self.block and self.left:
            data = self.store.read_range(self.object, self.place, min(READ_BLOCK, self.left))
            if not data:
                raise tarfile.ReadError(f"it ends after {self.place} bytes, {self.left} too early")
            self.hash.update(data)
            self.place += len(data)
            self.left -= len(data)
            self.block = memoryview(data)
        size = min(len(buffer), len(self.block))
        buffer[:size] = self.block[:size]
        self.block = self.block[size:]
        return size

    def finish(self) -> str:
        """Reads what tarfile left (the zero blocks at the end), and returns the SHA-256 in hex."""
        while self.read(READ_BLOCK):
            pass
        return self.hash.hexdigest()

"""Computes the latents of a tar's pictures: a task of the stage `encode`."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.ranges import joined
from nucleus_data.errors import CorpusError
from nucleus_data.pixels import PixelError, open_picture
from nucleus_data.runner.work import Summary
from nucleus_data.sets.encoded import Value, encode_values, encoded_name
from nucleus_data.sets.layout import SetFolder, TarEntry
from nucleus_model.settings.settings import QuickTrainSettings

READS_AT_ONCE = 16
GAP, BLOCK = 64 << 10, 4 << 20  # bytes; adjacent pictures are read with one request
# Pixels of the pictures that a GPU encodes at once. A CPU encodes pictures one by one, so that a
# latent does not depend on other pictures.
PIXELS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class LatentTask:
    """Encodes the pictures of one tar (a model task of the runner).

    Attributes:
        uri: URI of the corpus.
        storage_options: Options for fsspec.
        folder: Folder of the training set in the corpus.
        hashes: Resolution -> config hash of the latents.
        settings: Settings of the training, which name the codec.
        dtype: Precision of the stored numbers.
    """

    uri: str
    storage_options: Mapping[str, Any]
    folder: str
    hashes: Mapping[int, str]
    settings: QuickTrainSettings
    dtype: str

    def setup(self) -> None:
        """Loads the codec, once per worker."""
        from nucleus_data.stages.encode.models import codec_of

        codec_of(self.settings)

    def run(self, number: int) -> Summary:
        """Encodes the tar with this number in the manifest, unless that is already done."""
        folder = SetFolder(Corpus(self.uri, self.storage_options).store, self.folder)
        entry = folder.manifest()[number]
        name = folder.name(encoded_name(self.hashes[entry.resolution], entry.path))
        if folder.store.exists(name):
            return Summary(rows=entry.samples, already=entry.samples)
        from nucleus_data.stages.encode.models import codec_of, encoding

        codec, summary = codec_of(self.settings), Summary(rows=entry.samples)
        values: dict[bytes, Value] = {}
        at_once = 1
        if self.settings.device != "cpu":
            at_once = max(1, PIXELS_AT_ONCE // (entry.width * entry.height))
        with encoding(self.settings):
            pictures = _pictures(folder, entry, summary)
            while samples := list(islice(pictures, at_once)):
                values.update(_encoded(codec, samples, self.dtype))
        row = (codec.channels, entry.height // codec.factor, entry.width // codec.factor)
        content = encode_values(values, row, self.dtype)
        write(folder.store, name, content)
        summary.done, summary.bytes = len(values), len(content)
        return summary


def write(store: Any, name: str, content: bytes) -> None:
    """Writes a file of encoded values; CorpusError if it exists with other content."""
    if not store.create(name, content):
        raise CorpusError(
            f"{store.url(name)} already exists with different content; remove it, and run the same "
            "command again"
        )


def _pictures(
    folder: SetFolder, entry: TarEntry, summary: Summary
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yields the ids and pixels of a tar's samples, as for the trainer; counts failures."""
    size, tar = (entry.width, entry.height), folder.name(entry.path)
    rows = folder.index(entry.path)
    offsets, sizes = (rows[name].to_numpy() for name in ("offset", "size"))
    index, blocks = rows.to_pylist(), list(joined(offsets, sizes, GAP, BLOCK))

    def read(block: tuple[int, int]) -> Iterator[tuple[dict[str, Any], bytes]]:
        samples = index[slice(*block)]
        start, last = samples[0]["offset"], samples[-1]
        data = folder.store.read_range(tar, start, last["offset"] + last["size"] - start)
        for row in samples:
            at = row["offset"] - start
            yield row, data[at : at + row["size"]]

    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        for first in range(0, len(blocks), READS_AT_ONCE):
            found = pool.map(lambda block: list(read(block)), blocks[first : first + READS_AT_ONCE])
            for row, data in chain.from_iterable(found):
                stored = (row["width"], row["height"]) == size
                crop = None if stored else tuple(row["crop"])
                try:
                    yield row["id"], open_picture(data).rgb(crop=crop, size=size)
                except PixelError as error:
                    summary.failed[error.reason] += 1
                except (ValueError, MemoryError):  # for example, the crop exceeds the picture
                    summary.failed["undecodable"] += 1


def _encoded(codec: Any, samples: Any, dtype: str) -> Iterator[tuple[bytes, Value]]:
    import torch

    from nucleus_data.stages.encode.models import as_bytes

    latents = codec.encode(torch.from_numpy(np.stack([pixels for _, pixels in samples])))
    for (ident, _), latent in zip(samples, latents, strict=True):
        yield bytes.fromhex(ident), Value(as_bytes(latent, dtype), (1, *latent.shape))

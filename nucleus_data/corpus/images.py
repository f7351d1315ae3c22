"""Reads original images from a corpus's tars, in few requests.

If most images of a tar are wanted, it is read in blocks; otherwise, only the wanted ranges.
"""

import hashlib
from collections.abc import Iterator

import pyarrow as pa

from nucleus_data.corpus.damaged import damaged
from nucleus_data.corpus.ranges import joined
from nucleus_data.corpus.store import Store
from nucleus_data.corpus.tar_names import tar_name
from nucleus_data.errors import CorpusError

BLOCK = 32 << 20  # maximum bytes per request
SMALL_GAP = 64 << 10  # maximum bytes between two images that are read in one request
WHOLE_SHARE = 0.25  # from this share of the tar's bytes on, it is read in blocks


def read_images(store: Store, shard: int, records: pa.Table, tar_size: int) -> Iterator[bytes]:
    """Yields the bytes of records' images, in the order of their offsets.

    Up to `BLOCK` bytes (32 MiB) are read ahead.

    Args:
        store: The corpus's store.
        shard: The image shard's number.
        records: Rows with `file`, `offset`, `size` and `sha256`, sorted by offset; all have an
            image.
        tar_size: Size of the tar in bytes, when its records were committed.

    Raises:
        CorpusError: The tar is missing, or is not the one that was ingested (its size, or the
            SHA-256 of an image, differs).
    """
    name = tar_name(shard)
    _check_size(store, name, tar_size)
    offsets = records.column("offset").to_numpy()
    sizes = records.column("size").to_numpy()
    digests = records.column("sha256").to_pylist()
    files = records.column("file").to_pylist()
    # A request costs more than the bytes of a small gap between two images. If most of the tar is
    # wanted, large gaps are read as well.
    gap = BLOCK if sizes.sum() >= WHOLE_SHARE * tar_size else SMALL_GAP
    for first, last in joined(offsets, sizes, gap, BLOCK):
        start = int(offsets[first])
        end = int(offsets[last - 1] + sizes[last - 1])
        try:
            block = store.read_range(name, start, end - start)
        except (IsADirectoryError, PermissionError) as error:
            raise damaged(store, name, error) from error
        for i in range(first, last):
            begin = int(offsets[i]) - start
            image = block[begin : begin + int(sizes[i])]
            # Another tar may have the same size; never measure bytes that are not the record's.
            if hashlib.sha256(image).hexdigest() != digests[i]:
                raise CorpusError(
                    f"{store.url(name)} changed: {files[i]} no longer has the SHA-256 that it was "
                    "ingested with. Restore the original tar, or ingest the new pictures as a "
                    "new source"
                )
            yield image


def _check_size(store: Store, name: str, tar_size: int) -> None:
    """Raises CorpusError if a tar is missing, or has another size than when it was ingested."""
    try:
        size = store.size(name)
    except FileNotFoundError:
        raise CorpusError(
            f"{store.url(name)} is missing, but its records exist; restore it, as nothing can be "
            "measured without it"
        ) from None
    if size != tar_size:
        raise CorpusError(
            f"{store.url(name)} changed: it has {size} bytes, but had {tar_size} when it was "
            "ingested. Restore the original, or ingest the new pictures as a new source"
        )

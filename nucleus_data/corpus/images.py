"""Reading original bytes from a corpus's tars.

Where most are wanted, they are read in whole runs; where few are, in ranges.
"""

import hashlib
from collections.abc import Iterator

import pyarrow as pa

from nucleus_data.corpus.damaged import damaged
from nucleus_data.corpus.ranges import joined
from nucleus_data.corpus.store import Store
from nucleus_data.corpus.tar_names import tar_name
from nucleus_data.errors import CorpusError

BLOCK = 32 << 20
SMALL_GAP = 64 << 10
WHOLE_SHARE = 0.25


def read_images(store: Store, shard: int, records: pa.Table, tar_size: int) -> Iterator[bytes]:
    """The bytes of some records' images, in the order of their offsets, at most some 32 MB ahead.

    Args:
        store: The corpus's store.
        shard: The image shard.
        records: Rows with `file`, `offset`, `size` and `sha256`, sorted by offset; all have an
            image.
        tar_size: Bytes of the tar when its records were committed.

    Raises:
        CorpusError: The tar is missing, or is not the one that was ingested (its size, or an
        image's SHA-256, differs).
    """
    name = tar_name(shard)
    shown = store.url(name)
    try:
        size = store.size(name)
    except FileNotFoundError:
        raise CorpusError(
            f"{shown} is missing, though its records are there; put it back, "
            "nothing can be measured without it"
        ) from None
    if size != tar_size:
        raise CorpusError(
            f"{shown} changed: it has {size} bytes, it had {tar_size} when it was ingested. "
            "Put the original back, or ingest the new pictures as a new source"
        )
    offsets = records.column("offset").to_numpy()
    sizes = records.column("size").to_numpy()
    digests = records.column("sha256").to_pylist()
    files = records.column("file").to_pylist()
    # A request costs more than the bytes between two wanted images: where most are wanted, a gap is
    # read too.
    gap = BLOCK if sizes.sum() >= WHOLE_SHARE * tar_size else SMALL_GAP
    for first, last in joined(offsets, sizes, gap, BLOCK):
        start = int(offsets[first])
        end = int(offsets[last - 1] + sizes[last - 1])
        try:
            block = store.read_range(name, start, end - start)
        except (IsADirectoryError, PermissionError) as error:
            raise damaged(store, name, error) from error
        for i in range(first, last):
            at = int(offsets[i]) - start
            image = block[at : at + int(sizes[i])]
            # A tar of the same size may still be another one: no value is ever of other bytes than
            # the record's.
            if hashlib.sha256(image).hexdigest() != digests[i]:
                raise CorpusError(
                    f"{shown} changed: {files[i]} no longer has the SHA-256 that it was "
                    "ingested with. Put the original tar back, or ingest the new pictures as a "
                    "new source"
                )
            yield image

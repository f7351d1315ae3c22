"""Reads the originals of a tar ahead: adjacent ranges are merged, many requests are in flight."""

import hashlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa

from nucleus_data.corpus.damaged import damaged
from nucleus_data.corpus.ranges import joined
from nucleus_data.corpus.store import Store
from nucleus_data.corpus.tar_names import tar_name
from nucleus_data.errors import CorpusError

GAP = 64 << 10  # merge ranges with a smaller gap, as another request would cost more
BLOCK = 8 << 20  # maximum bytes of a request, unless a single picture is larger
WINDOW_BYTES, WINDOW_ROWS = 96 << 20, 16_384  # size of a window; two windows are read ahead
READS_AT_ONCE = 32


def read_originals(store: Store, rows: pa.Table) -> Iterator[bytes]:
    """Yields the original files of a plan's rows, in order; holds at most two windows in memory.

    Args:
        store: The corpus's store.
        rows: The plan's rows, with `shard`, `offset` and `size`.

    Raises:
        CorpusError: An image shard is missing, or ends too early.
    """
    shard, offset, size = (rows.column(n).to_numpy() for n in ("shard", "offset", "size"))
    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        held: deque[tuple[list[Any], int, int]] = deque()

        def finish() -> Iterator[bytes]:
            places, first, last = held.popleft()
            for i in range(first, last):
                block, at = places[i - first]
                places[i - first] = None  # a block is freed after the last file in it
                yield block.result()[at : at + int(size[i])]

        for first, last in _windows(size):
            places: list[Any] = [None] * (last - first)
            order = first + np.lexsort((offset[first:last], shard[first:last]))
            for together in _requests(order, shard, offset, size):
                start = int(offset[together[0]])
                end = int((offset[together] + size[together]).max())
                block = pool.submit(_read, store, int(shard[together[0]]), start, end - start)
                for i in together.tolist():
                    places[i - first] = (block, int(offset[i]) - start)
            held.append((places, first, last))
            if len(held) > 1:
                yield from finish()
        while held:
            yield from finish()


def check_original(data: bytes, record: Any, store: Store) -> None:
    """Checks that bytes are those of the record. Raises CorpusError."""
    # Comparing sizes of tars is not enough, as a different tar may have the same size.
    if hashlib.sha256(data).hexdigest() != record["sha256"]:
        raise CorpusError(
            f"{store.url(tar_name(record['shard']))} changed: {record['id']} no longer has the "
            "SHA-256 that it was ingested with. Restore the original tar, or ingest the new "
            "pictures as a new source"
        )


def _read(store: Store, shard: int, start: int, size: int) -> bytes:
    name = tar_name(shard)
    try:
        return store.read_range(name, start, size)
    except FileNotFoundError:
        raise CorpusError(
            f"{store.url(name)} is missing, but its records exist; restore it"
        ) from None
    except (IsADirectoryError, PermissionError) as error:
        raise damaged(store, name, error) from error


def _windows(size: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yields (first, last) of the windows of rows."""
    first, total = 0, 0
    for i, each in enumerate(size.tolist()):
        if i > first and (total + each > WINDOW_BYTES or i - first >= WINDOW_ROWS):
            yield first, i
            first, total = i, 0
        total += each
    if len(size):
        yield first, len(size)


def _requests(
    order: np.ndarray, shard: np.ndarray, offset: np.ndarray, size: np.ndarray
) -> Iterator[np.ndarray]:
    """Yields the rows of each request: adjacent files of one image shard, up to a block.

    Args:
        order: (N,) row numbers, sorted by shard and offset.
        shard: Image shard of every row of the plan.
        offset: Offset of every row's file in its shard's tar, in bytes.
        size: Size of every row's file, in bytes.
    """
    bounds = np.flatnonzero(np.diff(shard[order])) + 1
    for mine in np.split(order, bounds):
        for first, last in joined(offset[mine], size[mine], GAP, BLOCK):
            yield mine[first:last]

"""Rows on their way from many tasks to many others: files of rows, sorted by who reads them.

A file begins with where each reader's rows begin (uint64, one more than there are readers), then
come the rows, of one fixed size. A reader reads its range of every file.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleus_data.corpus.store import Store
from nucleus_data.errors import CorpusError

Rows = NDArray[Any]
MAX_READERS = 1 << 16
READS_AT_ONCE = 16
_MIXER = np.uint64(0xD6E8FEB86659FD93)


def spread(keys: NDArray[np.uint64], readers: int) -> NDArray[np.uint16]:
    """A reader for each key, evenly; equal keys have one reader.

    Raises:
        ValueError: There are more readers than a uint16 can number.
    """
    if not 0 < readers <= MAX_READERS:
        raise ValueError(f"readers must be 1 to {MAX_READERS}, got {readers}")
    mixed = keys * _MIXER
    mixed ^= mixed >> np.uint64(32)
    found: NDArray[np.uint16] = (mixed * _MIXER >> np.uint64(16)) % np.uint64(readers)
    return found.astype(np.uint16)


def write_rows(store: Store, name: str, rows: Rows, reader: NDArray[Any], readers: int) -> None:
    """Writes a file of rows for its readers.

    Args:
        store: The store that it is written to.
        name: Path of the file in the store.
        rows: The rows, of any fixed size.
        reader: The number of the reader of each row.
        readers: How many readers there are, at most 2^16.

    Raises:
        CorpusError: A file of that name with other rows is there.
    """
    reader = reader.astype(np.uint16)  # of which numpy's stable sort is a radix sort
    starts = np.concatenate([[0], np.cumsum(np.bincount(reader, minlength=readers))])
    order = np.argsort(reader, kind="stable")
    content = starts.astype("<u8").tobytes() + rows[order].tobytes()
    if not store.create(name, content):
        raise CorpusError(
            f"{store.url(name)} holds other rows than expected: remove the folder and run again"
        )


def read_rows(
    store: Store, names: Sequence[str], reader: int, readers: int, kind: np.dtype[Any]
) -> Rows:
    """A reader's rows of all files, in the files' order.

    Args:
        store: The store that the files are in.
        names: Paths of the files in the store.
        reader: The reader's number.
        readers: How many readers there are.
        kind: The type of a row.
    """

    def read(name: str) -> Rows:
        first, end = np.frombuffer(store.read_range(name, 8 * reader, 16), "<u8").tolist()
        if first == end:
            return np.empty(0, kind)
        offset = 8 * (readers + 1) + first * kind.itemsize
        return np.frombuffer(store.read_range(name, offset, (end - first) * kind.itemsize), kind)

    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        return np.concatenate([np.empty(0, kind), *pool.map(read, names)])

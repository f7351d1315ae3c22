"""All-to-all exchange of rows of a fixed size (NumPy records), each file grouped by reader.

Like `dealing`, but for NumPy arrays. A file has R + 1 offsets in rows (uint64, little-endian) for R
readers, followed by the rows. A reader reads its range of every file.
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
    """Assigns a reader to each key, by a multiplicative hash, so that loads are even.

    Args:
        keys: (N,) The keys; equal keys get the same reader.
        readers: Number of readers, 1 to 2^16.

    Returns:
        (N,) The number of each key's reader, from 0.

    Raises:
        ValueError: The number of readers is out of range.
    """
    if not 0 < readers <= MAX_READERS:
        raise ValueError(f"readers must be 1 to {MAX_READERS}, got {readers}")
    mixed = keys * _MIXER
    mixed ^= mixed >> np.uint64(32)
    found: NDArray[np.uint16] = (mixed * _MIXER >> np.uint64(16)) % np.uint64(readers)
    return found.astype(np.uint16)


def write_rows(store: Store, name: str, rows: Rows, reader: NDArray[Any], readers: int) -> None:
    """Writes a file of rows, grouped by reader.

    Args:
        store: The store to write to.
        name: Path of the file in the store.
        rows: (N,) The rows, of any fixed size.
        reader: (N,) The number of each row's reader, from 0.
        readers: Number of readers, at most 2^16.

    Raises:
        CorpusError: There is a file of that name with other content.
    """
    reader = reader.astype(np.uint16)  # of which numpy's stable sort is a radix sort
    starts = np.concatenate([[0], np.cumsum(np.bincount(reader, minlength=readers))])
    order = np.argsort(reader, kind="stable")
    content = starts.astype("<u8").tobytes() + rows[order].tobytes()
    if not store.create(name, content):
        raise CorpusError(
            f"{store.url(name)} contains unexpected rows: remove the folder and run again"
        )


def read_rows(
    store: Store, names: Sequence[str], reader: int, readers: int, kind: np.dtype[Any]
) -> Rows:
    """Reads a reader's rows from all files, in the order of the files.

    Args:
        store: The store of the files.
        names: Paths of the files in the store.
        reader: The reader's number, from 0.
        readers: Number of readers that the files were written for.
        kind: The dtype of a row.
    """

    def read(name: str) -> Rows:
        first, end = np.frombuffer(store.read_range(name, 8 * reader, 16), "<u8").tolist()
        if first == end:
            return np.empty(0, kind)
        offset = 8 * (readers + 1) + first * kind.itemsize
        return np.frombuffer(store.read_range(name, offset, (end - first) * kind.itemsize), kind)

    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        return np.concatenate([np.empty(0, kind), *pool.map(read, names)])

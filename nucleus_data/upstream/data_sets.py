"""Reads data sets that the package `datasets` saved: Arrow files, and JSON that lists them."""

import json
from collections.abc import Iterator, Sequence
from typing import IO, Any

import pyarrow as pa

from nucleus_data.corpus.store import Store
from nucleus_data.errors import RequestError

SAVED = "state.json"  # written by save_to_disk, beside the files of a split
SPLITS = "dataset_dict.json"
ARROW_FILE = b"ARROW1"
SHOWN = 5


def splits_of(root: Store, names: Sequence[str]) -> list[str]:
    """Returns the splits that `save_to_disk` wrote, in its order, as folders of the data set.

    Args:
        root: The data set.
        names: Names of its entries. As splits must be among them, the JSON can't refer to paths
            outside of the data set (`../x`).

    Raises:
        RequestError: The JSON that lists the splits can't be read, or a split does not exist.
    """
    splits = [str(split) for split in named_by(root, SPLITS, "splits")]
    if missing := [split for split in splits if split not in names]:
        raise RequestError(
            f"{root.uri}: {SPLITS} lists {len(missing)} missing folders: "
            f"{', '.join(missing[:SHOWN])}"
        )
    return splits


def saved_files(root: Store, folder: str) -> list[str]:
    """Returns the files of a split that `save_to_disk` wrote, in its order, relative to `root`.

    Args:
        root: The data set.
        folder: Folder of the split, ending with a slash; empty for the root itself.

    Raises:
        RequestError: The JSON that lists the files can't be read, or a file is missing.
    """
    name = f"{folder}{SAVED}"
    try:
        files = [str(item["filename"]) for item in named_by(root, name, "_data_files")]
    except TypeError as error:
        raise RequestError(f"{root.uri}/{name} can't be read: {error!r}") from error
    existing = set(root.list(folder.rstrip("/")))
    if missing := [file for file in files if file not in existing]:
        raise RequestError(
            f"{root.uri}: {name} lists {len(missing)} missing files: {', '.join(missing[:SHOWN])}"
        )
    return [f"{folder}{file}" for file in files]


def named_by(root: Store, name: str, key: str) -> list[Any]:
    """Returns the list under a key in a JSON file; RequestError if it can't be read."""
    try:
        values = json.loads(root.read(name))[key]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RequestError(f"{root.uri}/{name} can't be read: {error!r}") from error
    return list(values)


def open_arrow(file: IO[bytes]) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Opens an Arrow stream, the format of `datasets`, or an Arrow file.

    Returns:
        The schema and the batches.

    Raises:
        ArrowException: The file is neither.
        OSError: The file can't be read.
    """
    file.seek(0)
    start = file.read(len(ARROW_FILE))
    file.seek(0)
    if start == ARROW_FILE:
        reader = pa.ipc.open_file(file)
        return reader.schema, (reader.get_batch(i) for i in range(reader.num_record_batches))
    stream = pa.ipc.open_stream(file)
    return stream.schema, iter(stream)

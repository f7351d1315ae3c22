"""What the package `datasets` saves: Arrow files, and the JSON that names them."""

import json
from collections.abc import Iterator, Sequence
from typing import IO, Any

import pyarrow as pa

from nucleus_data.corpus.store import Store
from nucleus_data.errors import RequestError

SAVED = "state.json"  # of save_to_disk, beside the files of a split
SPLITS = "dataset_dict.json"
ARROW_FILE = b"ARROW1"
SHOWN = 5


def splits_of(root: Store, names: Sequence[str]) -> list[str]:
    """The splits that `save_to_disk` wrote, in its order: folders of the data set.

    Args:
        root: The data set.
        names: What lies in it; a path that leads out of it (`../x`) is none of these.

    Raises:
        RequestError: The JSON that names them can't be read, or names what is not there.
    """
    splits = [str(split) for split in named_by(root, SPLITS, "splits")]
    if missing := [split for split in splits if split not in names]:
        raise RequestError(
            f"{root.uri}: {SPLITS} names {len(missing)} folders that are missing: "
            f"{', '.join(missing[:SHOWN])}"
        )
    return splits


def saved_files(root: Store, folder: str) -> list[str]:
    """The files of one split that `save_to_disk` wrote, in its order; paths below the root.

    Args:
        root: The data set.
        folder: The split's, with a slash at its end; empty for the root itself.

    Raises:
        RequestError: The JSON that names them can't be read, or a file is missing.
    """
    name = f"{folder}{SAVED}"
    try:
        files = [str(item["filename"]) for item in named_by(root, name, "_data_files")]
    except TypeError as error:
        raise RequestError(f"{root.uri}/{name} cannot be read: {error!r}") from error
    there = set(root.list(folder.rstrip("/")))
    if missing := [file for file in files if file not in there]:
        raise RequestError(
            f"{root.uri}: {name} names {len(missing)} files that are missing: "
            f"{', '.join(missing[:SHOWN])}"
        )
    return [f"{folder}{file}" for file in files]


def named_by(root: Store, name: str, key: str) -> list[Any]:
    """The list of a key in a JSON file. Raises RequestError if that can't be read."""
    try:
        found = json.loads(root.read(name))[key]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RequestError(f"{root.uri}/{name} cannot be read: {error!r}") from error
    return list(found)


def open_arrow(file: IO[bytes]) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Columns and batches of an Arrow stream, as `datasets` saves them, or of an Arrow file.

    Raises:
        ArrowException: It is neither.
        OSError: It can't be read.
    """
    file.seek(0)
    start = file.read(len(ARROW_FILE))
    file.seek(0)
    if start == ARROW_FILE:
        reader = pa.ipc.open_file(file)
        return reader.schema, (reader.get_batch(i) for i in range(reader.num_record_batches))
    stream = pa.ipc.open_stream(file)
    return stream.schema, iter(stream)

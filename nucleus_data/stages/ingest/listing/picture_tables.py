"""Reads tables with pictures in their rows (Parquet and Arrow files), by column and in batches."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.corpus.store import Store, with_retries
from nucleus_data.errors import RequestError
from nucleus_data.stages.ingest.listing.formats import HEAD, shows_image
from nucleus_data.upstream.data_sets import SAVED, SPLITS, open_arrow, saved_files, splits_of

USUAL = ("image", "img", "picture", "photo", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes")
BATCH = 256
LOOKED_AT = 16  # rows of a plain binary column that are searched for a value to check
FOLDERS = 16  # number of folders without tables after which the search is given up
DEPTH = 2  # levels of folders below a source that are searched: `data/train/0.parquet`


class Table(ABC):
    """A file of rows, whose columns are read in batches.

    Attributes:
        name: Path relative to the source's root.
        schema: The file's Arrow schema.
    """

    def __init__(self, name: str, schema: pa.Schema) -> None:
        self.name, self.schema = name, schema

    @abstractmethod
    def batches(self, columns: list[str], start: int = 0) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yields batches of some columns, each with the number of its first row.

        Args:
            columns: Names of columns; `image.path` is the field `path` of the column `image`.
            start: Number of a row; batches that end before it may be omitted.
        """

    def mean_bytes(self, column: str) -> int | None:
        """Returns the mean size of a column's pictures in bytes; None if metadata doesn't tell."""
        return None

    def pictures(self, asked: str | None) -> str | None:
        """Finds the column with the pictures.

        Args:
            asked: Name of the column (`ingest.picture_column`); None to detect it.

        Returns:
            The requested column; otherwise, of the columns that hold pictures, the first with a
            usual name, or else the first. None if no column holds pictures.

        Raises:
            RequestError: The requested column does not exist or does not hold bytes.
        """
        if asked is not None:
            if asked not in self.schema.names or not is_bytes(self, asked):
                held = [name for name in self.schema.names if is_bytes(self, name)]
                raise RequestError(
                    f"ingest.picture_column={asked!r}: {self.name} has no such column of pictures; "
                    f"possible columns: {', '.join(held) or 'none'}"
                )
            return asked
        found = [f.name for f in self.schema if _is_struct(f.type)]
        found += [f.name for f in self.schema if _is_binary(f.type) and self._shows(f.name)]
        usual = {name.lower(): name for name in reversed(found)}
        return next((usual[name] for name in USUAL if name in usual), found[0] if found else None)

    def _shows(self, column: str) -> bool:
        """Returns whether the first non-empty value of a plain binary column is a picture."""
        for _, batch in self.batches([column]):
            values = [v for v in batch.column(0)[:LOOKED_AT].to_pylist() if v]
            return bool(values) and shows_image(values[0][:HEAD])
        return False


class _Parquet(Table):
    def __init__(self, name: str, file: Any) -> None:
        self._file = pq.ParquetFile(file)
        super().__init__(name, self._file.schema_arrow)

    def batches(self, columns: list[str], start: int = 0) -> Iterator[tuple[int, pa.RecordBatch]]:
        first = 0
        for group in range(self._file.num_row_groups):
            rows = self._file.metadata.row_group(group).num_rows
            if first + rows > start:
                row = first
                for batch in self._file.iter_batches(BATCH, row_groups=[group], columns=columns):
                    yield row, batch
                    row += batch.num_rows
            first += rows

    def mean_bytes(self, column: str) -> int | None:
        metadata = self._file.metadata
        rows = size = 0
        for group in range(metadata.num_row_groups):
            chunks = metadata.row_group(group)
            for leaf in range(chunks.num_columns):
                chunk = chunks.column(leaf)
                if chunk.path_in_schema in (column, f"{column}.bytes"):
                    size += chunk.total_uncompressed_size
            rows += chunks.num_rows
        return size // rows if rows else None


class _Arrow(Table):
    """An Arrow stream or an Arrow file, as `save_to_disk` of the package `datasets` writes it."""

    def __init__(self, name: str, file: Any) -> None:
        self._file = file
        super().__init__(name, open_arrow(file)[0])

    def batches(self, columns: list[str], start: int = 0) -> Iterator[tuple[int, pa.RecordBatch]]:
        first = 0
        for batch in open_arrow(self._file)[1]:
            if first + batch.num_rows > start:
                yield first, _leaves(batch, columns)
            first += batch.num_rows


@contextmanager
def opened(root: Store, name: str) -> Iterator[Table]:
    """Opens a table below the source's root.

    Raises:
        OSError: The file can't be read.
        ArrowException: The file is not a Parquet or Arrow file.
    """
    with with_retries(lambda: root.fs.open(root.path(name), "rb")) as file:
        yield _Arrow(name, file) if name.endswith(".arrow") else _Parquet(name, file)


def holds_pictures(root: Store, name: str) -> bool:
    """Returns whether a Parquet file has a column of pictures; False if it can't be read."""
    try:
        with opened(root, name) as table:
            return table.pictures(None) is not None
    except (OSError, pa.ArrowException):
        return False


def value_of(picture: Any) -> tuple[bytes | None, str | None]:
    """Returns the bytes and the file name of a value of a picture column; either may be None."""
    if isinstance(picture, dict):
        return picture.get("bytes"), picture.get("path")
    return picture, None


def tables_of(root: Store, names: Sequence[str]) -> list[str]:
    """Returns the table files of a folder that is a data set of the package `datasets`.

    Either `save_to_disk` wrote the folder, whose JSON then lists the files; or the folder, or
    folders below it, contain Parquet files with pictures, as in the repositories of dataset hubs.

    Args:
        root: The folder.
        names: Names of the folder's entries.

    Returns:
        File names relative to `root`; empty if the folder is no such data set.

    Raises:
        RequestError: The JSON that lists the files can't be read, or a file is missing.
    """
    if SPLITS in names:
        return [name for split in splits_of(root, names) for name in saved_files(root, f"{split}/")]
    if SAVED in names:
        return saved_files(root, "")
    found = _parquets(root, "", names, DEPTH)
    return found if found and holds_pictures(root, found[0]) else []


def _parquets(root: Store, folder: str, names: Sequence[str], depth: int) -> list[str]:
    """Returns the sorted Parquet files in a folder or, if it has none, in the folders below it."""
    found = [f"{folder}{name}" for name in names if name.lower().endswith(".parquet")]
    if found or not depth:
        return sorted(found)
    for looked, name in enumerate(_folders(root, folder)):
        if looked == FOLDERS and not found:
            # Probably folders of pictures by class: there may be thousands, each one a request.
            break
        below = f"{folder}{name}/"
        found += _parquets(root, below, root.list(below.rstrip("/")), depth - 1)
    return found


def _folders(root: Store, folder: str) -> list[str]:
    """Returns the sorted names of the folders in a folder, from one listing."""
    entries = with_retries(lambda: root.fs.ls(root.path(folder.rstrip("/")), detail=True))
    names = [e["name"].rstrip("/").rsplit("/", 1)[-1] for e in entries if e["type"] == "directory"]
    return sorted(name for name in names if not name.startswith("."))


def _leaves(batch: pa.RecordBatch, columns: list[str]) -> pa.RecordBatch:
    """Selects columns of a batch; `image.path` gives the column `image` with only that field."""
    arrays, names = [], []
    for column in columns:
        name, _, field = column.partition(".")
        if column in batch.schema.names:
            arrays.append(batch.column(column))
            names.append(column)
        else:
            values = batch.column(name).field(field)
            arrays.append(pa.StructArray.from_arrays([values], [field]))
            names.append(name)
    return pa.RecordBatch.from_arrays(arrays, names)


def _is_struct(kind: pa.DataType) -> bool:
    """Returns whether a type is that of pictures in the package `datasets`, a struct with bytes."""
    if not pa.types.is_struct(kind):
        return False
    place = kind.get_field_index("bytes")
    return place >= 0 and _is_binary(kind.field(place).type)


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def is_bytes(table: Table, column: str) -> bool:
    """Returns whether a column holds bytes, pictures or others; these are not upstream data."""
    kind = table.schema.field(column).type
    return _is_struct(kind) or _is_binary(kind)

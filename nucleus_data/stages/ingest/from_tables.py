"""Fetches pictures that are embedded in tables; damaged rows fail on their own."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import pyarrow as pa

from nucleus_data.corpus.store import Store
from nucleus_data.errors import CorpusError
from nucleus_data.stages.ingest.fetched import Fetched
from nucleus_data.stages.ingest.listing.picture_tables import Table, opened, value_of

NO_PICTURE = "no_picture"
UNREADABLE = "unreadable"


def from_tables(
    root: Store, rows: Sequence[Mapping[str, Any]], asked: str | None
) -> Iterator[Fetched]:
    """Yields the outcomes of rows, in order.

    Args:
        root: The folder that paths are relative to.
        rows: The claim's rows: `path` is the table, `offset` the number of the row in it, ascending
            within a table.
        asked: The setting `ingest.picture_column`.

    Raises:
        CorpusError: A table is gone, or was replaced.
    """
    for path, mine in groupby(rows, key=lambda row: row["path"]):
        name = path.decode("utf-8", "surrogateescape")
        wanted = [int(row["offset"]) for row in mine]
        try:
            with opened(root, name) as table:
                yield from _pictures(table, table.pictures(asked), wanted)
        except FileNotFoundError:
            raise CorpusError(
                f"{root.uri}/{name} no longer exists, but image shards were planned from it; "
                "restore it and run the same command again"
            ) from None


def _pictures(table: Table, column: str | None, wanted: Sequence[int]) -> Iterator[Fetched]:
    """Yields the pictures of rows of a table, given ascending row numbers."""
    if column is None:
        raise CorpusError(
            f"{table.name} no longer has a column of pictures; restore the original and run the "
            "same command again"
        )
    place = 0
    while place < len(wanted):
        try:
            for row, value in _values(table, column, wanted[place:]):
                yield _fetched(table.name, row, value)
                place += 1
        except (OSError, pa.ArrowException) as error:
            # Part of the file is damaged: this row fails, and reading continues with the next one.
            yield Fetched(None, UNREADABLE, f"{table.name} row {wanted[place]}: {error}")
            place += 1
            continue
        if place < len(wanted):
            raise CorpusError(
                f"{table.name} no longer has row {wanted[place]}; restore the original and run "
                "the same command again"
            )


def _values(table: Table, column: str, wanted: Sequence[int]) -> Iterator[tuple[int, Any]]:
    """Yields (row number, value) of rows, given ascending row numbers."""
    left = iter(wanted)
    row = next(left, None)
    if row is None:
        return
    for first, batch in table.batches([column], row):
        while row is not None and row < first + batch.num_rows:
            yield row, batch.column(0)[row - first].as_py()
            row = next(left, None)
        if row is None:
            return


def _fetched(name: str, row: int, value: Any) -> Fetched:
    data, path = value_of(value)
    if data is not None:
        return Fetched(bytes(data))
    beside = f"; it names the file {path!r}" if path else ""
    return Fetched(None, NO_PICTURE, f"{name} row {row} holds no bytes{beside}")

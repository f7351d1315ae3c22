"""Sorts upstream rows, makes their keys unique, and assigns record ids."""

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.hashing import record_id, sample_unit
from nucleus_data.sql import literal
from nucleus_data.stages.ingest.listing.formats import extension
from nucleus_data.stages.ingest.listing.locate import Location
from nucleus_data.stages.ingest.listing.runs import AGAIN, number_repeated, sorted_rows
from nucleus_data.stages.ingest.listing.spool import BATCH, Listing, batches
from nucleus_data.stages.ingest.listing.unread import unread
from nucleus_data.stages.ingest.plain_texts import with_plain_texts
from nucleus_data.stages.ingest.progress import Planning


def identified(
    listing: Listing,
    location: Location,
    folder: Path,
    connection: duckdb.DuckDBPyConnection,
    limit: int | None,
    sample: float | None,
    planning: Planning,
) -> Path:
    """Sorts the rows of a listing, makes their keys unique, and assigns ids.

    Args:
        listing: The listing, as a SQL query.
        location: The source.
        folder: For temporary files.
        connection: DuckDB.
        limit: Maximum number of rows, the first ones; None for all.
        sample: Share of the rows, chosen by a keyed hash of their ids; None for all.
        planning: Receives the progress.

    Returns:
        A Parquet file with the rows, and columns `id`, `source` and `position`.

    Raises:
        RequestError: The source can't be read.
    """
    ordered, target = folder / "ordered.parquet", folder / "candidates.parquet"
    # Without an order of its own, the listing's query is ordered already; DuckDB preserves that.
    order = f" ORDER BY {listing.order}" if listing.order else ""
    ending = "" if limit is None else f" LIMIT {limit}"
    try:
        connection.execute(
            f"COPY (SELECT * FROM ({listing.query}){order}{ending}) TO {literal(str(ordered))} "
            f"(FORMAT parquet, ROW_GROUP_SIZE {BATCH})"
        )
        occurrences = Occurrences(ordered, folder, connection)
    except duckdb.Error as error:
        raise unread(location, error, folder, connection) from error
    writer: pq.ParquetWriter | None = None
    position = 0
    try:
        for batch in batches(ordered):
            again = occurrences.of_next(len(batch))
            table = _with_ids(pa.Table.from_batches([batch]), again, listing, location.name)
            table = table.append_column(
                "position", pa.array(range(position, position + len(table)), pa.int64())
            )
            position += len(table)
            planning.at(position, "found")
            if sample is not None:
                chosen = [sample_unit(i) < sample for i in table["id"].to_pylist()]
                table = table.filter(pa.array(chosen, pa.bool_()))
            if writer is None:
                writer = pq.ParquetWriter(target, table.schema, compression="zstd")
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
    return target


class Occurrences:
    """Counts, for each row, how often its key occurs in earlier rows.

    Args:
        rows: A Parquet file with a column `key`.
        folder: For temporary files.
        connection: DuckDB.
    """

    def __init__(self, rows: Path, folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
        self._places = np.empty(0, np.int64)  # numbers of repeated rows ahead, ascending
        self._counts = np.empty(0, np.int64)
        self._next = 0
        sorted_, counted, found = (
            folder / f"keys-{name}.parquet" for name in ("sorted", "counted", "repeated")
        )
        file = f"read_parquet({literal(str(rows))}, file_row_number = true)"
        query = f"SELECT key, file_row_number AS place FROM {file}"
        sorted_rows(query, ["key", "place"], sorted_, connection)
        number_repeated(sorted_, "key", counted)
        sorted_.unlink()
        query = f"SELECT place, {AGAIN} FROM read_parquet({literal(str(counted))})"
        sorted_rows(query, ["place"], found, connection)
        self._batches = batches(found)

    def of_next(self, count: int) -> list[int]:
        """Returns the counts of the next `count` rows: 0 for the first row with its key."""
        end = self._next + count
        while not len(self._places) or self._places[-1] < end:
            if (batch := next(self._batches, None)) is None:
                break
            self._places = np.concatenate([self._places, batch["place"].to_numpy()])
            self._counts = np.concatenate([self._counts, batch[AGAIN].to_numpy()])
        numbers = np.zeros(count, np.int64)
        cut = int(np.searchsorted(self._places, end))
        numbers[self._places[:cut] - self._next] = self._counts[:cut]
        self._places, self._counts = self._places[cut:], self._counts[cut:]
        self._next = end
        found: list[int] = numbers.tolist()
        return found


def _with_ids(table: pa.Table, occurrences: list[int], listing: Listing, source: str) -> pa.Table:
    """Makes the keys of rows unique in the source, and prepends the columns `id` and `source`."""
    keys = [
        f"{key}{listing.separator}{occurrence}" if occurrence or listing.number_all else key
        for key, occurrence in zip(table["key"].to_pylist(), occurrences, strict=True)
    ]
    if listing.number_all:  # URL lists: the declared type is what the URL's path ends with
        declared = [_url_extension(url) for url in table["url"].to_pylist()]
        place = table.column_names.index("extension")
        table = table.set_column(place, "extension", pa.array(declared, pa.string()))
    table = table.set_column(table.column_names.index("key"), "key", pa.array(keys, pa.string()))
    table = with_plain_texts(table)
    ids = pa.array([record_id(source, key) for key in keys], pa.string())
    table = table.add_column(0, pa.field("id", pa.string(), nullable=False), ids)
    return table.add_column(1, "source", pa.array([source] * len(table), pa.string()))


def _url_extension(url: str | None) -> str | None:
    return extension((url or "").split("?", 1)[0].split("#", 1)[0].partition("://")[2])

"""Gives upstream rows their order, their unique keys and their ids."""

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.errors import RequestError
from nucleus_data.hashing import record_id, sample_unit
from nucleus_data.stages.ingest.listing.formats import extension
from nucleus_data.stages.ingest.listing.locate import Location
from nucleus_data.stages.ingest.listing.spool import BATCH, Listing, quoted
from nucleus_data.stages.ingest.plain_texts import with_plain_texts


def identified(
    listing: Listing,
    location: Location,
    folder: Path,
    connection: duckdb.DuckDBPyConnection,
    limit: int | None,
    sample: float | None,
) -> Path:
    """Sorts the rows, makes keys unique, and gives each its id; returns the file."""
    ordered, target = folder / "ordered.parquet", folder / "candidates.parquet"
    # `listed` is the place in the query's own result, which DuckDB keeps in order.
    order = listing.order or "listed"
    ending = "" if limit is None else f" LIMIT {limit}"
    try:
        connection.execute(
            f"COPY (SELECT *, row_number() OVER (PARTITION BY key ORDER BY {order}) - 1 "
            f"AS occurrence FROM (SELECT *, row_number() OVER () AS listed FROM ({listing.query})) "
            f"ORDER BY {order}{ending}) TO {quoted(str(ordered))} "
            f"(FORMAT parquet, ROW_GROUP_SIZE {BATCH})"
        )
    except duckdb.Error as error:
        raise RequestError(f"the source {location.uri!r} cannot be read: {error}") from error
    file = pq.ParquetFile(ordered)
    schema: pa.Schema | None = None
    writer: pq.ParquetWriter | None = None
    position = 0
    try:
        for batch in file.iter_batches(BATCH):
            table = _with_ids(pa.Table.from_batches([batch]), listing, location.name)
            table = table.append_column(
                "position", pa.array(range(position, position + len(table)), pa.int64())
            )
            position += len(table)
            if sample is not None:
                chosen = [sample_unit(i) < sample for i in table["id"].to_pylist()]
                table = table.filter(pa.array(chosen, pa.bool_()))
            if writer is None:
                schema = table.schema
                writer = pq.ParquetWriter(target, schema, compression="zstd")
            writer.write_table(table)
    finally:
        file.close()
        if writer is not None:
            writer.close()
    return target


def _with_ids(table: pa.Table, listing: Listing, source: str) -> pa.Table:
    """Rows with `id` and `source` before them, and keys that are unique in the source."""
    keys = [
        f"{key}{listing.separator}{occurrence}" if occurrence or listing.number_all else key
        for key, occurrence in zip(
            table["key"].to_pylist(), table["occurrence"].to_pylist(), strict=True
        )
    ]
    table = table.drop_columns(["listed", "occurrence"])
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

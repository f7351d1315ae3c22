"""Lists tables with embedded pictures: Parquet from dataset hubs, and output of `save_to_disk`.

A record's key is its file and row, as in `data/train-00000-of-00002.parquet/17`. The column of
pictures is a `struct<bytes, path>`, as the package `datasets` writes it, or a plain binary column;
if there are several, `ingest.picture_column` chooses one. Planning reads only the other columns;
the pictures are read when an image shard is built. All other columns become `source.NAME`, and
`path` of the column `image` becomes `source.image_path`.
"""

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.errors import RequestError
from nucleus_data.sql import identifier, literal
from nucleus_data.stages.ingest.listing.held_times import lost_notes, without_far_times
from nucleus_data.stages.ingest.listing.locate import Location
from nucleus_data.stages.ingest.listing.pairing import printable
from nucleus_data.stages.ingest.listing.picture_tables import Table, is_bytes, opened
from nucleus_data.stages.ingest.listing.spool import LOCATION, Listing
from nucleus_data.stages.ingest.listing.sql import (
    caption_column,
    described,
    of_files,
    upstream_columns,
)
from nucleus_data.stages.ingest.settings import IngestSettings

_ROW, _NAME, _SIZE = _OURS = ("nucleus row", "nucleus name", "nucleus size")


def list_embedded(
    location: Location,
    settings: IngestSettings,
    folder: Path,
    connection: duckdb.DuckDBPyConnection,
    limit: int | None,
) -> Listing:
    """Lists the rows of tables, file after file.

    Args:
        location: The tables.
        settings: `picture_column` and `caption_column` name columns.
        folder: For temporary files.
        connection: DuckDB.
        limit: Number of rows after which no further file is read; None for no limit.

    Raises:
        RequestError: A file can't be read or has no column of pictures, or there is no row.
    """
    where = f"ingest.source={settings.source!r}"
    parts: list[Path] = []
    notes: dict[str, None] = {}
    if location.others:
        beside = ", ".join(f"{ending} {n:,}" for ending, n in sorted(location.others.items()))
        notes[
            f"only the tables are ingested, not the pictures and tars beside them: {beside}. To "
            "ingest those, give their folders as separate sources"
        ] = None
    count = 0
    for number, name in enumerate(location.files):
        if limit is not None and count >= limit:
            break
        part = folder / f"upstream-{number:06d}.parquet"
        try:
            with opened(location.root, name) as table:
                column = _picture_column(table, settings, where)
                rows, lost = _write_upstream(table, column, part)
                count += rows
        except (OSError, pa.ArrowException) as error:
            raise RequestError(f"{where}: {name!r} cannot be read: {error}") from error
        left_out = [n for n in table.schema.names if n != column and is_bytes(table, n)]
        if left_out:
            notes[f"binary columns left out: {', '.join(left_out)}"] = None
        listed = folder / f"listed-{number:06d}.parquet"
        more = _write_listed(name, part, listed, settings, connection)
        notes |= dict.fromkeys([*more, *lost_notes(lost)])
        part.unlink()
        parts.append(listed)
    if not count:
        raise RequestError(f"{where}: the tables have no rows")
    return Listing(of_files(connection, parts), notes=list(notes))


def _picture_column(table: Table, settings: IngestSettings, where: str) -> str:
    names = table.schema.names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise RequestError(
            f"{where}: {table.name!r} has several columns named {', '.join(twice)}; columns are "
            "read by name, so give each a unique name"
        )
    column = table.pictures(settings.picture_column)
    if column is None:
        raise RequestError(
            f"{where}: {table.name!r} has no column of pictures; its columns are "
            f"{', '.join(names)}. Choose one with ingest.picture_column; for a list of URLs, set "
            "ingest.kind=urls"
        )
    return column


def _write_listed(
    name: str,
    upstream: Path,
    target: Path,
    settings: IngestSettings,
    connection: duckdb.DuckDBPyConnection,
) -> list[str]:
    """Writes a file's rows with the columns of a listing; returns notes."""
    query = f"SELECT * FROM read_parquet({literal(str(upstream))})"
    kinds = {n: kind for n, kind in described(connection, query).items() if n not in _OURS}
    caption = caption_column(kinds, settings.caption_column, name)
    special = {"caption": caption}
    found = upstream_columns(connection, query, special=special, leave_out=_OURS)
    select = ", ".join([*_location(name), *([found.select] if found.select else [])])
    connection.execute(
        f"COPY (SELECT {select} FROM ({query})) TO {literal(str(target))} (FORMAT parquet)"
    )
    return found.notes()


def _write_upstream(table: Table, column: str, target: Path) -> tuple[int, list[str]]:
    """Writes a table's columns, except those of bytes, with the row, name and size of each picture.

    Returns:
        The number of rows; and the columns that lost times which DuckDB can't represent.
    """
    others = [name for name in table.schema.names if name != column and not is_bytes(table, name)]
    kind = table.schema.field(column).type
    named_files = pa.types.is_struct(kind) and kind.get_field_index("path") >= 0
    wanted = [*others, *([f"{column}.path"] if named_files else [])]
    upstream_name = f"{column}_path"
    kept = [upstream_name] if named_files and upstream_name not in table.schema.names else []
    mean, count, lost = table.mean_bytes(column), 0, dict[str, None]()
    fields = [
        *(table.schema.field(name).remove_metadata() for name in others),
        *(pa.field(name, pa.string()) for name in kept),
        pa.field(_NAME, pa.string()),
        pa.field(_ROW, pa.int64()),
        pa.field(_SIZE, pa.int64()),
    ]
    with pq.ParquetWriter(target, pa.schema(fields), compression="zstd") as writer:
        # If there is no other column, the pictures are read just to count the rows.
        for first, batch in table.batches(wanted or [column]):
            rows = batch.num_rows
            paths: pa.Array = pa.nulls(rows, pa.string())
            if named_files:
                paths = batch.column(column).field("path").cast(pa.string())
            upstream = without_far_times([batch.column(name) for name in others], others, lost)
            columns = [
                *upstream,
                *(paths for _ in kept),
                paths,
                pa.array(range(first, first + rows), pa.int64()),
                pa.array([mean] * rows, pa.int64()),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=pa.schema(fields)))
            count += rows
    return count, list(lost)


def _location(name: str) -> list[str]:
    """Returns SQL of the columns of `LOCATION`, for the rows of a file."""
    blob = "".join(f"\\x{byte:02X}" for byte in name.encode("utf-8", "surrogateescape"))
    ending = "'[^/][.]([a-z0-9]{1,8})$'"
    ours = {
        "key": f"{literal(printable(name))} || '/' || {identifier(_ROW)}",
        "path": f"'{blob}'::BLOB",
        "offset": identifier(_ROW),
        "size": identifier(_SIZE),
        "extension": f"nullif(regexp_extract(lower({identifier(_NAME)}), {ending}, 1), '')",
    }
    types = {"int64": "BIGINT", "binary": "BLOB", "bool": "BOOLEAN", "string": "VARCHAR"}
    return [
        f"CAST({ours.get(field.name, 'NULL')} AS {types[str(field.type)]}) "
        f"AS {identifier(field.name)}"
        for field in LOCATION
    ]

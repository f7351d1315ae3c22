"""SQL over upstream tables: URL lists and captions tables, whatever their columns and types."""

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from nucleus_data.corpus.store import Store
from nucleus_data.errors import RequestError
from nucleus_data.stages.ingest.listing.spool import PREFIX, quoted

CAPTION_COLUMNS = ("caption", "text", "captions", "alt", "alt_text")


def list_query(
    paths: Sequence[str],
    storage_options: Mapping[str, Any],
    connection: duckdb.DuckDBPyConnection,
    where: str,
) -> str:
    """SQL that reads Parquet, CSV or TSV files, in their order.

    Types in a CSV are found by looking at all of it, so that no later row contradicts them; its
    first line names the columns.

    Raises:
        RequestError: A file is missing or damaged, or of another kind.
    """
    for path in paths:
        store = Store(path, storage_options)
        if not store.exists(""):
            raise RequestError(f"{where}: there is no file {path!r}")
        if not store.local:
            connection.register_filesystem(store.fs)
    names = "[" + ", ".join(quoted(path) for path in paths) + "]"
    suffixes = {path.rsplit(".", 1)[-1].lower() for path in paths}
    if suffixes == {"parquet"}:
        query = f"SELECT * FROM read_parquet({names}, union_by_name = true)"
    elif suffixes <= {"csv", "tsv"}:
        query = (
            f"SELECT * FROM read_csv({names}, header = true, sample_size = -1, "
            "union_by_name = true)"
        )
    else:
        raise RequestError(
            f"{where}: cannot read {paths[0]!r}. Allowed: .parquet, .csv, .tsv (one kind at a time)"
        )
    try:
        described(connection, query)
    except duckdb.Error as error:
        raise RequestError(f"{where}: {paths[0]!r} cannot be read: {error}") from error
    return query


def chosen_column(
    columns: Sequence[str],
    asked: str | None,
    usual: Sequence[str],
    where: str,
    setting: str,
) -> str:
    """The column that plays a part: the one asked for, else the first usual name (in any case).

    Raises:
        RequestError: There is none.
    """
    column = found_column(columns, asked, usual, where, setting)
    if column is None:
        raise RequestError(
            f"{where}: no column is called {', '.join(usual)}; its columns are "
            f"{', '.join(columns)}. Say which with ingest.{setting}"
        )
    return column


def found_column(
    columns: Sequence[str],
    asked: str | None,
    usual: Sequence[str],
    where: str,
    setting: str,
) -> str | None:
    """Like `chosen_column`, but None if none was asked for and there is no usual one."""
    if asked is not None:
        if asked not in columns:
            raise RequestError(
                f"ingest.{setting}={asked!r}: {where} has no such column; its columns are "
                f"{', '.join(columns)}"
            )
        return asked
    lower = {column.lower(): column for column in reversed(columns)}
    return next((lower[name] for name in usual if name in lower), None)


def named(column: str) -> str:
    """A SQL identifier."""
    return '"' + column.replace('"', '""') + '"'


def upstream_columns(
    connection: duckdb.DuckDBPyConnection,
    query: str,
    *,
    special: Mapping[str, str | None],
    leave_out: Sequence[str] = (),
) -> tuple[str, list[str]]:
    """SQL that selects a query's columns as `source.NAME`, of plain types.

    Lists and structures become JSON text; binary columns are left out.

    Args:
        connection: DuckDB.
        query: The query.
        special: Our name (`caption`, `url`) -> the column that takes it, if there is one. Another
            column of that very name becomes `NAME_upstream`.
        leave_out: Columns that are not upstream data.

    Returns:
        The select list (empty, or without a comma at its end), and the binary columns left out.
    """
    items, binary = [], []
    taken = {ours for ours, column in special.items() if column is not None}
    ours_of = {column: ours for ours, column in special.items() if column is not None}
    for column, kind in described(connection, query).items():
        if column in leave_out:
            continue
        if kind == "BLOB":
            binary.append(column)
            continue
        name = ours_of.get(column)
        if name is None:
            name = f"{column}_upstream" if column.lower() in taken else column
        value = _plain(named(column), kind)
        if name == "caption":
            value = f"nullif(trim(CAST({named(column)} AS VARCHAR), e' \\t\\r\\n'), '')"
        items.append(f"{value} AS {named(PREFIX + name)}")
    return ", ".join(items), binary


def described(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, str]:
    """Column -> DuckDB type of a query's result."""
    return {row[0]: row[1] for row in connection.execute(f"DESCRIBE {query}").fetchall()}


def _plain(value: str, kind: str) -> str:
    """SQL of a value in a type that every part of `records` can have."""
    if kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION", "VARIANT")):
        return f"CAST(to_json({value}) AS VARCHAR)"
    if kind.startswith("DECIMAL"):
        return f"CAST({value} AS DOUBLE)"
    integers = {"BIGINT", "INTEGER", "SMALLINT", "TINYINT"}
    integers |= {f"U{name}" for name in integers}
    plain = integers | {"BOOLEAN", "FLOAT", "DOUBLE", "VARCHAR", "DATE"}
    return value if kind in plain or kind.startswith("TIMESTAMP") else f"CAST({value} AS VARCHAR)"

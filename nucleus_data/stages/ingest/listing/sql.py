"""Builds SQL over upstream tables (URL lists, captions tables) with arbitrary columns and types."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from nucleus_data.errors import RequestError
from nucleus_data.sql import identifier, literal
from nucleus_data.stages.ingest.listing.spool import PREFIX

CAPTION_COLUMNS = ("caption", "text", "captions", "alt", "alt_text")
_SIGNED = ("HUGEINT", "BIGINT", "INTEGER", "SMALLINT", "TINYINT")
_NUMBERS = {"BOOLEAN", "FLOAT", "DOUBLE", *_SIGNED, *(f"U{name}" for name in _SIGNED)}


def chosen_column(
    columns: Sequence[str],
    asked: str | None,
    usual: Sequence[str],
    where: str,
    setting: str,
) -> str:
    """Returns the column for a purpose: the requested one, or the first with a usual name.

    Args:
        columns: Names of the table's columns.
        asked: Name of the requested column; None for none.
        usual: Usual names, in lower case, by precedence; compared without case.
        where: Name of the table, for messages.
        setting: Name of the setting in `ingest` that requests a column, for messages.

    Raises:
        RequestError: The requested column does not exist, or no column has a usual name.
    """
    column = found_column(columns, asked, usual, where, setting)
    if column is None:
        raise RequestError(
            f"{where}: no column is named {', '.join(usual)}; its columns are "
            f"{', '.join(columns)}. Choose one with ingest.{setting}"
        )
    return column


def found_column(
    columns: Sequence[str],
    asked: str | None,
    usual: Sequence[str],
    where: str,
    setting: str,
) -> str | None:
    """Like `chosen_column`, but returns None if no column is requested or has a usual name."""
    if asked is not None:
        if asked not in columns:
            raise RequestError(
                f"ingest.{setting}={asked!r}: {where} has no such column; its columns are "
                f"{', '.join(columns)}"
            )
        return asked
    lower = {column.lower(): column for column in reversed(columns)}
    return next((lower[name] for name in usual if name in lower), None)


def row_count(source: str, connection: duckdb.DuckDBPyConnection) -> int:
    """Counts the rows of a SQL source, with what follows it (joins, WHERE)."""
    row = connection.execute(f"SELECT count(*) FROM {source}").fetchone()
    return 0 if row is None else int(row[0])


@dataclass(frozen=True)
class Columns:
    """A query's columns as upstream data.

    Attributes:
        select: SQL select list with each column as `source.NAME`; may be empty.
        binary: Columns with binary values, which are left out.
        as_json: Columns with lists and structures, which are kept as JSON text.
        far_times: Columns with dates or times outside of the years 1 to 9999, which become NULL.
    """

    select: str
    binary: list[str]
    as_json: list[str]
    far_times: list[str]

    def notes(self) -> list[str]:
        """Returns notes for people about what is not kept unchanged."""
        return [
            f"{what}: {', '.join(columns)}"
            for what, columns in (
                ("binary columns left out", self.binary),
                ("lists and structures kept as JSON text", self.as_json),
                ("dates and times outside of the years 1 to 9999 left out of", self.far_times),
            )
            if columns
        ]


def upstream_columns(
    connection: duckdb.DuckDBPyConnection,
    query: str,
    *,
    special: Mapping[str, str | None],
    leave_out: Sequence[str] = (),
) -> Columns:
    """Builds SQL that selects a query's columns as `source.NAME`, with plain types.

    Lists and structures become JSON text, since columns of all sources with the same name share a
    table, and a list in one source could be text in another. Only captions may be lists of texts.

    Args:
        connection: DuckDB.
        query: The query.
        special: Own name (`caption`, `url`) -> the column that takes it, or None. Any other column
            with that name becomes `NAME_upstream`.
        leave_out: Columns that are not upstream data.
    """
    items: list[str] = []
    found = Columns("", [], [], [])
    times = dict[str, str]()
    ours_of = {column: ours for ours, column in special.items() if column is not None}
    kinds = described(connection, query)
    # A structure or bytes can't be a caption, whatever the column's name.
    taken = {*ours_of.values(), "caption", "caption_error"}
    if any(is_several(kinds[column]) for column, ours in ours_of.items() if ours == "caption"):
        taken.add("captions")
    for column, kind in kinds.items():
        if column in leave_out:
            continue
        several = is_several(kind)
        name = ours_of.get(column)
        if name is None:
            reserved = column.lower() in taken or (column.lower() == "captions" and not several)
            name = f"{column}_upstream" if reserved else column
        value = identifier(column)
        if name == "caption":
            value = _caption(value, kind)
        elif name.lower() == "captions":
            name, value = "captions", f"CAST({value} AS VARCHAR[])"
        elif re.search(r"\bBLOB\b", kind):
            found.binary.append(column)
            continue
        elif is_nested(kind):
            found.as_json.append(column)
            value = f"CAST(to_json({value}) AS VARCHAR)"
        else:
            value = _plain(value, kind)
            if _family(kind) == "time":
                times[column] = value
        items.append(f"{value} AS {identifier(PREFIX + name)}")
    found.far_times.extend(_far(connection, query, times))
    return replace(found, select=", ".join(items))


def _far(
    connection: duckdb.DuckDBPyConnection, query: str, times: Mapping[str, str]
) -> Iterator[str]:
    """Yields the columns with times that become NULL; `times` has the SQL of their kept values."""
    if not times:
        return
    lost = [
        f"bool_or({identifier(c)} IS NOT NULL AND ({kept}) IS NULL)" for c, kept in times.items()
    ]
    (row,) = connection.execute(f"SELECT {', '.join(lost)} FROM ({query})").fetchall()
    for column, any_lost in zip(times, row, strict=True):
        if any_lost:
            yield column


def caption_column(kinds: Mapping[str, str], asked: str | None, where: str) -> str | None:
    """Returns the column of captions.

    Args:
        kinds: Column -> DuckDB type.
        asked: The requested column (`ingest.caption_column`); None for none.
        where: Name of the table, for messages.

    Returns:
        The requested column, or else the first with a usual name and a possible type; None if there
        is none.

    Raises:
        RequestError: The requested column does not exist, or has neither texts nor lists of texts.
    """
    possible = [
        column
        for column, kind in kinds.items()
        if kind != "BLOB" and (is_several(kind) or not is_nested(kind))
    ]
    if asked is not None and asked in kinds and asked not in possible:
        raise RequestError(
            f"ingest.caption_column={asked!r}: in {where}, that column has type {kinds[asked]}; "
            "captions must be texts, or lists of texts"
        )
    columns = list(kinds) if asked is not None else possible
    return found_column(columns, asked, CAPTION_COLUMNS, where, "caption_column")


def of_files(connection: duckdb.DuckDBPyConnection, files: Sequence[Path | str]) -> str:
    """Returns SQL of the rows of Parquet files, in order; columns are matched by name.

    A column with incompatible types (numbers in one file, dates in another) becomes text in all.

    Args:
        connection: DuckDB.
        files: Paths, or URLs that the connection can read.
    """
    names = [literal(str(file)) for file in files]
    queries = [f"SELECT * FROM read_parquet({name})" for name in names]
    united = meeting(connection, queries)
    if united == queries:
        return f"SELECT * FROM read_parquet([{', '.join(names)}], union_by_name = true)"
    return " UNION ALL BY NAME ".join(f"({query})" for query in united)


def meeting(connection: duckdb.DuckDBPyConnection, queries: Sequence[str]) -> list[str]:
    """Returns the queries, with columns of one name converted to text if their types differ."""
    tables = [described(connection, query) for query in queries]
    families_of: dict[str, set[str]] = defaultdict(set)
    for kinds in tables:
        for column, kind in kinds.items():
            families_of[column.lower()].add(_family(kind))
    apart = {column for column, families in families_of.items() if not _meet(families)}
    texts = [[c for c in kinds if c.lower() in apart] for kinds in tables]
    return [
        query if not columns else f"SELECT * REPLACE ({_as_texts(columns, kinds)}) FROM ({query})"
        for query, columns, kinds in zip(queries, texts, tables, strict=True)
    ]


def _family(kind: str) -> str:
    """Returns a DuckDB type's family of compatible types: numbers, times, or the type itself."""
    if kind in _NUMBERS or kind.startswith("DECIMAL"):
        return "number"
    return "time" if kind.startswith(("DATE", "TIMESTAMP")) else kind


def _meet(families: set[str]) -> bool:
    """Returns whether one type can hold the values of all families; NULL fits any."""
    given = families - {'"NULL"'}
    if any("BLOB" in kind for kind in given):  # such columns are left out, and need not match
        return True
    return len(given) < 2 or given in ({"number", "VARCHAR"}, {"time", "VARCHAR"})


def _as_texts(columns: Sequence[str], kinds: Mapping[str, str]) -> str:
    """Returns SQL of columns as text; nested ones as JSON."""
    values = {
        c: f"to_json({identifier(c)})" if is_nested(kinds[c]) else identifier(c) for c in columns
    }
    return ", ".join(f"CAST({values[c]} AS VARCHAR) AS {identifier(c)}" for c in columns)


def is_several(kind: str) -> bool:
    """Returns whether a DuckDB type is a list of texts."""
    return re.fullmatch(r"VARCHAR\[\d*\]", kind) is not None


def described(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, str]:
    """Returns column -> DuckDB type of a query's result."""
    return {row[0]: row[1] for row in connection.execute(f"DESCRIBE {query}").fetchall()}


def _caption(value: str, kind: str) -> str:
    """Returns SQL of a caption: a text without surrounding white space, or a list of texts."""
    if is_several(kind):
        return f"CAST({value} AS VARCHAR[])"
    return f"nullif(trim(CAST({value} AS VARCHAR), e' \\t\\r\\n'), '')"


def _plain(value: str, kind: str) -> str:
    """Returns SQL of a value in a type that is allowed in `records`."""
    if kind.startswith("DECIMAL"):
        return f"CAST({value} AS DOUBLE)"
    if kind == "DATE" or kind.startswith("TIMESTAMP"):
        return _time(value, kind)
    plain = (_NUMBERS - {"HUGEINT", "UHUGEINT"}) | {"VARCHAR"}
    return value if kind in plain else f"CAST({value} AS VARCHAR)"


def _time(value: str, kind: str) -> str:
    """Returns SQL of a date or time in microseconds; NULL outside of Python's years, 1 to 9999.

    Such values are, for example, infinity, and milliseconds that were read as seconds.
    """
    if kind != "DATE":
        kind = "TIMESTAMPTZ" if kind.endswith("TIME ZONE") else "TIMESTAMP"
        value = f"TRY_CAST({value} AS {kind})"
    # One day less at both ends, to allow for the time zone in which the time is displayed.
    return f"CASE WHEN {value} BETWEEN {kind} '0001-01-02' AND {kind} '9999-12-30' THEN {value} END"


def is_nested(kind: str) -> bool:
    """Returns whether a DuckDB type is a list, a structure or another nested type."""
    return kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION", "VARIANT"))

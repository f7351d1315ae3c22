"""SQL over upstream tables: URL lists and captions tables, whatever their columns and types."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from nucleus_data.errors import RequestError
from nucleus_data.stages.ingest.listing.spool import PREFIX, quoted

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


def row_count(source: str, connection: duckdb.DuckDBPyConnection) -> int:
    """Counts the rows of a SQL source, with what follows it (joins, WHERE)."""
    row = connection.execute(f"SELECT count(*) FROM {source}").fetchone()
    return 0 if row is None else int(row[0])


def named(column: str) -> str:
    """A SQL identifier."""
    return '"' + column.replace('"', '""') + '"'


@dataclass(frozen=True)
class Columns:
    """A query's columns as upstream data.

    Attributes:
        select: The select list: each as `source.NAME`; empty, or without a comma at its end.
        binary: Columns that hold binary values, and are left out.
        as_json: Lists and structures, kept as JSON text.
        far_times: Columns with dates or times outside of the years 1 to 9999, which become NULL.
    """

    select: str
    binary: list[str]
    as_json: list[str]
    far_times: list[str]

    def notes(self) -> list[str]:
        """Sentences about what is not kept as it was, for people."""
        return [
            f"{what}: {', '.join(columns)}"
            for what, columns in (
                ("binary columns left out", self.binary),
                ("lists and structures kept as JSON text", self.as_json),
                ("left out, as they are outside of the years 1 to 9999: times of", self.far_times),
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
    """SQL that selects a query's columns as `source.NAME`, of plain types.

    Lists and structures become JSON text, for sources whose columns have one name share a table:
    a list beside another source's text could not be read. Captions alone may be a list of texts.

    Args:
        connection: DuckDB.
        query: The query.
        special: Our name (`caption`, `url`) -> the column that takes it, if there is one. Another
            column of that very name becomes `NAME_upstream`.
        leave_out: Columns that are not upstream data.
    """
    items: list[str] = []
    found = Columns("", [], [], [])
    times = dict[str, str]()
    ours_of = {column: ours for ours, column in special.items() if column is not None}
    kinds = described(connection, query)
    # A structure or bytes are no caption, whatever their column is called.
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
        value = named(column)
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
        items.append(f"{value} AS {named(PREFIX + name)}")
    found.far_times.extend(_far(connection, query, times))
    return replace(found, select=", ".join(items))


def _far(
    connection: duckdb.DuckDBPyConnection, query: str, times: Mapping[str, str]
) -> Iterator[str]:
    """Which columns have times that become NULL, by the SQL of what is kept of each."""
    if not times:
        return
    lost = [f"bool_or({named(c)} IS NOT NULL AND ({kept}) IS NULL)" for c, kept in times.items()]
    (row,) = connection.execute(f"SELECT {', '.join(lost)} FROM ({query})").fetchall()
    for column, any_lost in zip(times, row, strict=True):
        if any_lost:
            yield column


def caption_column(kinds: Mapping[str, str], asked: str | None, where: str) -> str | None:
    """The column of captions: the one asked for, else the first usual one that may hold captions.

    Args:
        kinds: Column -> DuckDB type.
        asked: `ingest.caption_column`.
        where: What messages call the table.

    Raises:
        RequestError: The one asked for is not there, or holds neither texts nor lists of texts.
    """
    possible = [
        column
        for column, kind in kinds.items()
        if kind != "BLOB" and (is_several(kind) or not is_nested(kind))
    ]
    if asked is not None and asked in kinds and asked not in possible:
        raise RequestError(
            f"ingest.caption_column={asked!r}: in {where} that column is of type {kinds[asked]}; "
            "captions are texts, or lists of texts"
        )
    columns = list(kinds) if asked is not None else possible
    return found_column(columns, asked, CAPTION_COLUMNS, where, "caption_column")


def of_files(connection: duckdb.DuckDBPyConnection, files: Sequence[Path | str]) -> str:
    """SQL of the rows of Parquet files, in their order; columns meet by name.

    A column whose types do not meet (numbers in one file, dates in another) is text in all.

    Args:
        connection: DuckDB.
        files: Paths, or URLs that the connection can read.
    """
    names = [quoted(str(file)) for file in files]
    queries = [f"SELECT * FROM read_parquet({name})" for name in names]
    united = meeting(connection, queries)
    if united == queries:
        return f"SELECT * FROM read_parquet([{', '.join(names)}], union_by_name = true)"
    return " UNION ALL BY NAME ".join(f"({query})" for query in united)


def meeting(connection: duckdb.DuckDBPyConnection, queries: Sequence[str]) -> list[str]:
    """The queries, so that the types of columns of one name meet: where they don't, as texts."""
    kinds = [described(connection, query) for query in queries]
    found: dict[str, set[str]] = defaultdict(set)
    for each in kinds:
        for column, kind in each.items():
            found[column.lower()].add(_family(kind))
    apart = {column for column, families in found.items() if not _meet(families)}
    texts = [[c for c in each if c.lower() in apart] for each in kinds]
    return [
        query if not columns else f"SELECT * REPLACE ({_as_texts(columns, each)}) FROM ({query})"
        for query, columns, each in zip(queries, texts, kinds, strict=True)
    ]


def _family(kind: str) -> str:
    """What a DuckDB type meets: numbers meet, and times do; any other type meets its own."""
    if kind in _NUMBERS or kind.startswith("DECIMAL"):
        return "number"
    return "time" if kind.startswith(("DATE", "TIMESTAMP")) else kind


def _meet(families: set[str]) -> bool:
    """Whether one type holds the values of all; what has no value meets every type."""
    given = families - {'"NULL"'}
    if any("BLOB" in kind for kind in given):  # never a text: such columns are left out
        return True
    return len(given) < 2 or given in ({"number", "VARCHAR"}, {"time", "VARCHAR"})


def _as_texts(columns: Sequence[str], kinds: Mapping[str, str]) -> str:
    """SQL of columns as texts: JSON where they are nested."""
    values = {c: f"to_json({named(c)})" if is_nested(kinds[c]) else named(c) for c in columns}
    return ", ".join(f"CAST({values[c]} AS VARCHAR) AS {named(c)}" for c in columns)


def is_several(kind: str) -> bool:
    """Whether a DuckDB type is a list of texts."""
    return re.fullmatch(r"VARCHAR\[\d*\]", kind) is not None


def described(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, str]:
    """Column -> DuckDB type of a query's result."""
    return {row[0]: row[1] for row in connection.execute(f"DESCRIBE {query}").fetchall()}


def _caption(value: str, kind: str) -> str:
    """SQL of a caption column: a text without outer white space, or a list of texts."""
    if is_several(kind):
        return f"CAST({value} AS VARCHAR[])"
    return f"nullif(trim(CAST({value} AS VARCHAR), e' \\t\\r\\n'), '')"


def _plain(value: str, kind: str) -> str:
    """SQL of a value in a type that every part of `records` can have."""
    if kind.startswith("DECIMAL"):
        return f"CAST({value} AS DOUBLE)"
    if kind == "DATE" or kind.startswith("TIMESTAMP"):
        return _time(value, kind)
    plain = (_NUMBERS - {"HUGEINT", "UHUGEINT"}) | {"VARCHAR"}
    return value if kind in plain else f"CAST({value} AS VARCHAR)"


def _time(value: str, kind: str) -> str:
    """SQL of a date or time, in microseconds, as Python can have it; NULL outside its years.

    Infinity is one of these, and what a time in milliseconds becomes that is read as seconds.
    """
    if kind != "DATE":
        kind = "TIMESTAMPTZ" if kind.endswith("TIME ZONE") else "TIMESTAMP"
        value = f"TRY_CAST({value} AS {kind})"
    # A day less at both ends, for the time zone in which it is shown.
    return f"CASE WHEN {value} BETWEEN {kind} '0001-01-02' AND {kind} '9999-12-30' THEN {value} END"


def is_nested(kind: str) -> bool:
    """Whether a DuckDB type is a list, a structure or the like."""
    return kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION", "VARIANT"))

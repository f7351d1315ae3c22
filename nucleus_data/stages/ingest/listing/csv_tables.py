"""Reads a CSV with DuckDB; where one damaged row would cost others something, row by row."""

import csv
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from nucleus_data.corpus.store import Store, with_retries
from nucleus_data.stages.ingest.listing.spool import quoted
from nucleus_data.stages.ingest.listing.sql import described, named
from nucleus_data.upstream.csv_rows import CsvRows
from nucleus_data.upstream.damaged_row import DamagedRow
from nucleus_data.upstream.lines import MOST_LINE

SHOWN_TEXT = 1000
PLAIN = ", delim = ',', quote = '\"', escape = '\"'"  # as the package csv writes
IN_QUOTES = '(?s)"([^"]|"")*"'  # what a CSV's value looks like where its quotes are not read


def read_csv(
    store: Store,
    name: str,
    target: Path,
    connection: duckdb.DuckDBPyConnection,
    texts: Sequence[str],
    columns: Sequence[str] | None,
) -> list[DamagedRow]:
    """Writes the rows of a CSV that can be read to a Parquet file; returns the others.

    DuckDB chooses one way to read all rows, which one open quote may make the wrong one for nearly
    all: it loses them, or leaves the quotes round their values. So where some can't be read, or
    have quotes, each is read alone. That counts if it takes more rows, or if it mends more than the
    rows that it loses: values without their quotes, lines that were no rows.
    """
    damaged, strict = _by_duckdb(store.uri, name, target, connection, texts, columns)
    quotes = _left_quotes(target, connection)
    if strict and not damaged and not quotes:
        return damaged
    copy = target.with_suffix(".rows")
    try:
        rows, alone = _row_by_row(store, name, copy, columns)
        lost = pq.read_metadata(target).num_rows - rows
        if lost < quotes + max(0, len(damaged) - len(alone)):
            again, _ = _by_duckdb(str(copy), name, target, connection, texts, None, PLAIN)
            damaged = again + alone
    except (OSError, csv.Error):  # its head can't be read alone
        pass
    finally:
        copy.unlink(missing_ok=True)
    return sorted(damaged, key=lambda row: row.line)


def _left_quotes(target: Path, connection: duckdb.DuckDBPyConnection) -> int:
    """How many values have quotes round them that seem to be the file's, not the text's.

    They are where more than half of a column has them, or where doubled quotes within such values
    are more common than quotes that begin a value and don't end it.
    """
    query = f"SELECT * FROM read_parquet({quoted(str(target))})"
    found = 0
    for column in (n for n, kind in described(connection, query).items() if kind == "VARCHAR"):
        seen = (
            f"SELECT value, starts_with(value, '\"') AS begins, "
            f"begins AND regexp_full_match(value, '{IN_QUOTES}') AS whole, "
            "whole AND contains(value[2:-2], '\"\"') AS doubled "
            f"FROM (SELECT {named(column)} AS value FROM ({query}))"
        )
        ((values, whole, doubled, other),) = connection.execute(
            "SELECT count(value), count(*) FILTER (whole), count(*) FILTER (doubled), "
            f"count(*) FILTER (begins AND NOT whole) FROM ({seen})"
        ).fetchall()
        if 2 * whole > values or doubled > other:
            found += whole
    return found


def _row_by_row(
    store: Store, name: str, copy: Path, columns: Sequence[str] | None
) -> tuple[int, list[DamagedRow]]:
    """Copies the rows of a CSV that can be read alone, with a head.

    Returns:
        How many these are; and the others.
    """
    rows, damaged = 0, []
    with (
        with_retries(lambda: store.fs.open(store.path(""), "rb")) as file,
        copy.open("w", encoding="utf-8", newline="") as plain,
    ):
        found = CsvRows(file, columns)
        writer = csv.writer(plain)
        writer.writerow(found.names)
        for row in found.rows():
            if row.problem:
                damaged.append(DamagedRow(name, row.line, row.text[:SHOWN_TEXT], row.problem))
            else:
                writer.writerow(row.fields)
                rows += 1
    return rows, damaged


def _by_duckdb(
    path: str,
    name: str,
    target: Path,
    connection: duckdb.DuckDBPyConnection,
    texts: Sequence[str],
    columns: Sequence[str] | None,
    dialect: str = "",
) -> tuple[list[DamagedRow], bool]:
    """Writes the rows of a CSV that DuckDB can read to a Parquet file.

    Returns:
        The others; and whether all were read strictly.
    """
    strict = True
    header = "header = true"
    if columns is not None:
        header = f"header = false, names = [{', '.join(map(quoted, columns))}]"
    options = f"{header}, sample_size = -1, store_rejects = true, max_line_size = {MOST_LINE}"
    options += dialect

    def read() -> str:
        return f"SELECT * FROM read_csv({quoted(path)}, {options})"

    try:
        kinds = described(connection, read())
    except duckdb.Error:
        # Line ends of two kinds in one file, for one: strict at first, for that finds more.
        options += ", strict_mode = false"
        strict = False
        kinds = described(connection, read())
    lower = {text.lower() for text in texts}
    # A type that was found by looking makes `true` of a caption `yes`.
    if wrong := [c for c, kind in kinds.items() if kind != "VARCHAR" and c.lower() in lower]:
        types = ", ".join(f"{quoted(column)}: 'VARCHAR'" for column in wrong)
        options += f", types = {{{types}}}"
    connection.execute(f"COPY ({read()}) TO {quoted(str(target))} (FORMAT parquet)")
    rejects = connection.execute(
        "SELECT line, any_value(csv_line), first(error_message ORDER BY error_message) "
        "FROM reject_errors GROUP BY line ORDER BY line"
    ).fetchall()
    connection.execute("DROP TABLE reject_errors; DROP TABLE reject_scans")
    return [
        DamagedRow(name, line, text or "", reason or "") for line, text, reason in rejects
    ], strict

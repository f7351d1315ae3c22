"""Converts CSV and TSV files to Parquet, leaving out rows that can't be read."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from nucleus_data.corpus.store import Store, with_retries
from nucleus_data.sql import identifier, literal
from nucleus_data.stages.ingest.listing.sql import described
from nucleus_data.upstream.csv_rows import CsvRows
from nucleus_data.upstream.damaged_row import DamagedRow
from nucleus_data.upstream.lines import MOST_LINE

SHOWN_TEXT = 1000  # maximum characters of a damaged row that are kept
PLAIN = ", delim = ',', quote = '\"', escape = '\"'"  # the dialect that Python's csv writes
IN_QUOTES = '(?s)"([^"]|"")*"'  # a quoted value whose quotes were not read as such


@dataclass(frozen=True)
class CsvReader:
    """Converts CSV files to Parquet, without rows that can't be read.

    Attributes:
        connection: DuckDB.
        texts: Columns, in any case, whose values are text: `yes`, `007` and `1e3`, too.
        columns: Names of the columns of a file without a header line; None for a header.
    """

    connection: duckdb.DuckDBPyConnection
    texts: Sequence[str]
    columns: Sequence[str] | None

    def read(self, store: Store, name: str, target: Path) -> list[DamagedRow]:
        """Writes the readable rows of a CSV to a Parquet file; returns the others.

        DuckDB chooses one dialect for all rows, which a single open quote can make wrong for nearly
        all of them: it loses them, or leaves the quotes around their values. So if some rows can't
        be read, or values have quotes around them, each row is also parsed on its own. That result
        counts if it has more rows, or if it repairs more than the rows that it lacks: values
        without their quotes, and lines that were no rows.

        Args:
            store: The file.
            name: The file's name, for messages.
            target: The Parquet file.
        """
        damaged, strict = self._by_duckdb(store.uri, name, target, self.columns)
        quotes = self._left_quotes(target)
        if strict and not damaged and not quotes:
            return damaged
        copy = target.with_suffix(".rows")
        try:
            rows, alone = self._row_by_row(store, name, copy)
            lacking = pq.read_metadata(target).num_rows - rows
            if lacking < quotes + max(0, len(damaged) - len(alone)):
                again, _ = self._by_duckdb(str(copy), name, target, None, PLAIN)
                damaged = again + alone
        except (OSError, csv.Error):  # the header can't be read on its own
            pass
        finally:
            copy.unlink(missing_ok=True)
        return sorted(damaged, key=lambda row: row.line)

    def _left_quotes(self, target: Path) -> int:
        """Counts the values around which DuckDB seems to have left the file's quotes.

        These are the quoted values of a column if more than half of its values are quoted, or if
        doubled quotes within quoted values are more common than quotes that begin a value and do
        not end it.
        """
        query = f"SELECT * FROM read_parquet({literal(str(target))})"
        texts = [c for c, kind in described(self.connection, query).items() if kind == "VARCHAR"]
        found = 0
        for column in texts:
            flags = (
                f"SELECT value, starts_with(value, '\"') AS begins, "
                f"begins AND regexp_full_match(value, '{IN_QUOTES}') AS whole, "
                "whole AND contains(value[2:-2], '\"\"') AS doubled "
                f"FROM (SELECT {identifier(column)} AS value FROM ({query}))"
            )
            ((values, whole, doubled, other),) = self.connection.execute(
                "SELECT count(value), count(*) FILTER (whole), count(*) FILTER (doubled), "
                f"count(*) FILTER (begins AND NOT whole) FROM ({flags})"
            ).fetchall()
            if 2 * whole > values or doubled > other:
                found += whole
        return found

    def _row_by_row(self, store: Store, name: str, copy: Path) -> tuple[int, list[DamagedRow]]:
        """Copies the rows of a CSV that can be parsed on their own, with a header.

        Returns:
            The number of these rows; and the other rows.
        """
        rows, damaged = 0, []
        with (
            with_retries(lambda: store.fs.open(store.path(""), "rb")) as file,
            copy.open("w", encoding="utf-8", newline="") as plain,
        ):
            found = CsvRows(file, self.columns)
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
        self,
        path: str,
        name: str,
        target: Path,
        columns: Sequence[str] | None,
        dialect: str = "",
    ) -> tuple[list[DamagedRow], bool]:
        """Writes the rows of a CSV that DuckDB can read to a Parquet file.

        Args:
            path: The file.
            name: The file's name, for messages.
            target: The Parquet file.
            columns: Names of the columns of a file without a header line; None for a header.
            dialect: Further options of `read_csv`.

        Returns:
            The other rows; and whether the file was read in strict mode.
        """
        strict = True
        header = "header = true"
        if columns is not None:
            header = f"header = false, names = [{', '.join(map(literal, columns))}]"
        options = f"{header}, sample_size = -1, store_rejects = true, max_line_size = {MOST_LINE}"
        options += dialect

        def read() -> str:
            return f"SELECT * FROM read_csv({literal(path)}, {options})"

        try:
            kinds = described(self.connection, read())
        except duckdb.Error:
            # For example, two kinds of line ends. Strict mode comes first, as it finds more errors.
            options += ", strict_mode = false"
            strict = False
            kinds = described(self.connection, read())
        lower = {text.lower() for text in self.texts}
        # Without this, a detected type could turn the caption `yes` into `true`.
        if wrong := [c for c, kind in kinds.items() if kind != "VARCHAR" and c.lower() in lower]:
            types = ", ".join(f"{literal(column)}: 'VARCHAR'" for column in wrong)
            options += f", types = {{{types}}}"
        self.connection.execute(f"COPY ({read()}) TO {literal(str(target))} (FORMAT parquet)")
        rejects = self.connection.execute(
            "SELECT line, any_value(csv_line), first(error_message ORDER BY error_message) "
            "FROM reject_errors GROUP BY line ORDER BY line"
        ).fetchall()
        self.connection.execute("DROP TABLE reject_errors; DROP TABLE reject_scans")
        return [
            DamagedRow(name, line, text or "", reason or "") for line, text, reason in rejects
        ], strict

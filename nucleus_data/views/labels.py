"""Reads tables of labels or ratings made by people, and joins them with a corpus's records."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq

from nucleus_data.corpus import Corpus
from nucleus_data.errors import RequestError
from nucleus_data.printed import counted

NAMES = ("id", "key")  # how a record is named; the first that the table has
TEXTS = (*NAMES, "rater")
TRUE, FALSE = {"true", "yes", "1", "1.0"}, {"false", "no", "0", "0.0"}


def read_labels(file: Path, needed: str, optional: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Reads the rows of a table, with its known columns only.

    Args:
        file: A `.csv` file with a header, or a `.parquet` file.
        needed: A required column, in addition to `id` or `key`.
        optional: Further columns to read, if they exist.

    Raises:
        RequestError: It can't be read, or lacks a column.
    """
    if file.suffix not in (".csv", ".parquet"):
        raise RequestError(f"{file} must end in .csv or .parquet")
    try:
        table = _read(file)
        names = [name for name in NAMES if name in table.column_names]
        if needed not in table.column_names or not names:
            raise RequestError(
                f"{file} has the columns {', '.join(table.column_names) or 'none'}; required: id "
                f"(or key) and {needed}"
                + (f"; optional: {', '.join(optional)}" if optional else "")
            )
        columns = [names[0], needed, *(c for c in optional if c in table.column_names)]
        rows: list[dict[str, Any]] = table.select(columns).to_pylist()
    except (OSError, KeyError, pa.ArrowException) as error:
        raise RequestError(f"{file} can't be read: {str(error).splitlines()[0]}") from error
    return rows


def _read(file: Path) -> pa.Table:
    if file.suffix == ".parquet":
        return pq.read_table(file)
    texts = dict.fromkeys(TEXTS, pa.string())
    options = csv.ConvertOptions(column_types=texts, strings_can_be_null=True)
    return csv.read_csv(file, convert_options=options)


def truth_of(value: Any) -> bool | None:
    """Parses a label (true, 1, yes, ...); None if it is not one."""
    text = str(value).strip().lower()
    return True if text in TRUE else False if text in FALSE else None


def number_of(value: Any) -> float | None:
    """Parses a finite number; None if it is not one."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if abs(number) < float("inf") else None


def find_records(corpus: Corpus, rows: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """Returns the id of each row's record; None if there is no such record, or several."""
    by = next(name for name in NAMES if not rows or name in rows[0])
    asked = sorted({str(row[by]) for row in rows if row[by] is not None})
    connection = corpus.connection()
    connection.register("asked", pa.table({"name": pa.array(asked, pa.string())}))
    try:
        found = connection.execute(
            f"select {by}, id from {corpus.records.sql()} where {by} in (select name from asked)"
        ).fetchall()
    finally:
        connection.unregister("asked")
    often = Counter(name for name, _ in found)
    ids = {name: ident for name, ident in found if often[name] == 1}
    return [ids.get(str(row[by])) for row in rows]


def check_used(name: str, rows: int, used: int, left_out: Mapping[str, int]) -> str:
    """Returns a line for people about how many rows were used, and why others were not.

    Args:
        name: The table's name.
        rows: Number of rows.
        used: Number of used rows.
        left_out: Reason -> number of other rows.

    Raises:
        RequestError: No row is used.
    """
    assert rows == used + sum(left_out.values()), "each row has one state"
    reasons = ", ".join(f"{count:,} {why}" for why, count in left_out.items() if count)
    line = f"{name}: {counted(rows, 'row')}, {used:,} used" + (
        f"; left out: {reasons}" if reasons else ""
    )
    if not used:
        raise RequestError(line)
    return line

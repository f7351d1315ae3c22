"""Reads upstream tables (Parquet, CSV, TSV); a row of a CSV that is damaged costs itself alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from nucleus_data.corpus.store import Store, with_retries
from nucleus_data.errors import RequestError
from nucleus_data.stages.ingest.listing.spool import quoted
from nucleus_data.stages.ingest.listing.sql import described
from nucleus_data.stages.ingest.texts import MARKS, decoded

MOST_LINE = 16 << 20  # bytes
SHOWN = 5


@dataclass(frozen=True)
class DamagedRow:
    """A row that cannot be read.

    Attributes:
        file: Name of its file.
        line: Its line, from 1; of several lines, the first.
        text: What stands there.
        reason: What is wrong with it, in words.
    """

    file: str
    line: int
    text: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file} line {self.line} ({self.reason})"


@dataclass
class UpstreamTable:
    """Rows of upstream files, in their order.

    Attributes:
        query: SQL of the rows that can be read.
        damaged: Those that cannot.
    """

    query: str
    damaged: list[DamagedRow] = field(default_factory=list)

    def notes(self, what: str) -> list[str]:
        """Sentences about the damaged rows, for people."""
        if not self.damaged:
            return []
        shown = ", ".join(map(str, self.damaged[:SHOWN]))
        more = f", and {len(self.damaged) - SHOWN} more" if len(self.damaged) > SHOWN else ""
        return [f"{len(self.damaged)} rows of {what} cannot be read: {shown}{more}"]


def read_tables(
    paths: Sequence[str],
    storage_options: Mapping[str, Any],
    connection: duckdb.DuckDBPyConnection,
    where: str,
    folder: Path,
    encoding: str | None = None,
) -> UpstreamTable:
    """Reads Parquet, CSV or TSV files.

    Types in a CSV are found by looking at all of it, so that no later row contradicts them; its
    first line names the columns.

    Args:
        paths: Paths or URLs.
        storage_options: For fsspec.
        connection: DuckDB.
        where: What messages call the files: a setting and its value.
        folder: For temporary files.
        encoding: Of lines of a CSV that are no UTF-8.

    Raises:
        RequestError: A file is missing or damaged, or of another kind.
    """
    stores = [Store(path, storage_options) for path in paths]
    for path, store in zip(paths, stores, strict=True):
        if not store.exists(""):
            raise RequestError(f"{where}: there is no file {path!r}")
        if not store.local:
            connection.register_filesystem(store.fs)
    suffixes = {path.rsplit(".", 1)[-1].lower() for path in paths}
    if suffixes == {"parquet"}:
        names = ", ".join(quoted(path) for path in paths)
        table = UpstreamTable(f"SELECT * FROM read_parquet([{names}], union_by_name = true)")
        try:
            described(connection, table.query)
        except duckdb.Error as error:
            raise RequestError(f"{where}: {paths[0]!r} cannot be read: {error}") from error
        return table
    if not suffixes <= {"csv", "tsv"}:
        raise RequestError(
            f"{where}: cannot read {paths[0]!r}. Allowed: .parquet, .csv, .tsv (one kind at a time)"
        )
    parts, damaged = [], []
    for number, (path, store) in enumerate(zip(paths, stores, strict=True)):
        part = folder / f"{Path(path).stem}-{number}.parquet"
        file = utf8_copy(store, "", folder / f"{part.name}.utf8", encoding) or path
        try:
            damaged += _read_csv(str(file), path.rsplit("/", 1)[-1], part, connection)
        except duckdb.Error as error:
            raise RequestError(f"{where}: {path!r} cannot be read: {error}") from error
        parts.append(quoted(str(part)))
    query = f"SELECT * FROM read_parquet([{', '.join(parts)}], union_by_name = true)"
    return UpstreamTable(query, damaged)


def _read_csv(
    path: str, name: str, target: Path, connection: duckdb.DuckDBPyConnection
) -> list[DamagedRow]:
    """Writes the rows of a CSV that can be read to a Parquet file; returns the others."""
    options = f"header = true, sample_size = -1, store_rejects = true, max_line_size = {MOST_LINE}"
    copied = "COPY (SELECT * FROM read_csv({}, {})) TO {} (FORMAT parquet)"
    try:
        connection.execute(copied.format(quoted(path), options, quoted(str(target))))
    except duckdb.Error:
        # Line ends of two kinds in one file, for one: strict at first, for that finds more.
        options += ", strict_mode = false"
        connection.execute(copied.format(quoted(path), options, quoted(str(target))))
    rejects = connection.execute(
        "SELECT line, any_value(csv_line), first(error_message ORDER BY error_message) "
        "FROM reject_errors GROUP BY line ORDER BY line"
    ).fetchall()
    connection.execute("DROP TABLE reject_errors; DROP TABLE reject_scans")
    return [DamagedRow(name, line, text or "", reason or "") for line, text, reason in rejects]


def utf8_copy(store: Store, name: str, target: Path, encoding: str | None) -> Path | None:
    """A local copy in UTF-8 of a text file that is in another encoding; None if it needs none.

    A byte-order mark says what all of it is in; else `encoding` is tried for the lines that are
    no UTF-8. Lines that are in neither stay as they are.

    Raises:
        RequestError: The file is not in the encoding that its mark says.
    """
    with with_retries(lambda: store.fs.open(store.path(name), "rb")) as file:
        start = file.read(4)
    marked = next((text for mark, text in MARKS if start.startswith(mark)), None)
    if marked not in (None, "utf-8"):
        assert marked is not None
        with (
            store.fs.open(store.path(name), "r", encoding=marked, newline="") as texts,
            target.open("w", encoding="utf-8", newline="") as copy,
        ):
            texts.read(1)  # the mark
            try:
                while part := texts.read(1 << 20):
                    copy.write(part)
            except UnicodeError as error:
                raise RequestError(f"{store.uri}/{name}".rstrip("/") + f": {error}") from error
        return target
    if encoding is None:
        return None
    with store.fs.open(store.path(name), "rb") as lines, target.open("wb") as copy:
        for line in lines:
            text = decoded(line, encoding)
            copy.write(line if text is None else text.encode())
    return target

"""Reads upstream tables (Parquet, CSV, TSV, JSON Lines), leaving out damaged rows."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from nucleus_data.corpus.store import Store, with_retries
from nucleus_data.errors import RequestError
from nucleus_data.sql import literal
from nucleus_data.stages.ingest.listing.csv_reader import CsvReader
from nucleus_data.stages.ingest.listing.held_times import held_copy, lost_notes
from nucleus_data.stages.ingest.listing.json_lines import read_json_lines
from nucleus_data.stages.ingest.listing.sql import described, is_nested, of_files
from nucleus_data.stages.ingest.listing.unread import reason
from nucleus_data.stages.ingest.texts import MARKS, decoded
from nucleus_data.upstream.compressed import COMPRESSED, plain_copy, uncompressed
from nucleus_data.upstream.damaged_row import DamagedRow

SHOWN = 5  # maximum number of damaged rows listed in a note
CSVS, JSON_LINES = {"csv", "tsv"}, {"jsonl", "ndjson"}


@dataclass
class UpstreamTable:
    """The rows of upstream files, in order.

    Attributes:
        query: SQL of the readable rows.
        damaged: The other rows.
        lost: Columns with times that can't be read, which are NULL.
    """

    query: str
    damaged: list[DamagedRow] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def notes(self, what: str) -> list[str]:
        """Returns sentences for people about damaged rows and lost columns."""
        lost = lost_notes(self.lost)
        if not self.damaged:
            return lost
        shown = ", ".join(map(str, self.damaged[:SHOWN]))
        more = f", and {len(self.damaged) - SHOWN} more" if len(self.damaged) > SHOWN else ""
        return [f"{len(self.damaged)} rows of {what} cannot be read: {shown}{more}", *lost]


def read_tables(
    paths: Sequence[str],
    storage_options: Mapping[str, Any],
    connection: duckdb.DuckDBPyConnection,
    where: str,
    folder: Path,
    encoding: str | None = None,
    texts: Sequence[str] = (),
    columns: Sequence[str] | None = None,
) -> UpstreamTable:
    """Reads Parquet, CSV, TSV or JSON Lines files; all but Parquet may be compressed.

    Types of a CSV's columns are detected from all of its rows.

    Args:
        paths: Paths or URLs, all of one kind.
        storage_options: Options for fsspec.
        connection: DuckDB.
        where: The setting that names the files, for messages.
        folder: For temporary files.
        encoding: Encoding to try for lines that are not UTF-8; None for none.
        texts: Columns of a CSV, in any case, whose values are text: `yes`, `007` and `1e3`, too.
        columns: Names of the columns of a CSV without a header line; None for a header.

    Raises:
        RequestError: A file is missing or damaged, or of another kind.
    """
    stores = [Store(path, storage_options) for path in paths]
    for path, store in zip(paths, stores, strict=True):
        if not store.exists(""):
            raise RequestError(f"{where}: no such file: {path!r}")
        if not store.local:
            connection.register_filesystem(store.fs)
    suffixes = {uncompressed(path).rsplit(".", 1)[-1].lower() for path in paths}
    if suffixes == {"parquet"}:
        return _of_parquet(connection, dict(zip(paths, stores, strict=True)), where, folder)
    if not (suffixes <= CSVS or suffixes <= JSON_LINES):
        raise RequestError(
            f"{where}: cannot read {paths[0]!r}. Allowed: .parquet, .csv, .tsv, .jsonl (one kind "
            f"at a time; all but .parquet also compressed as {' or '.join(COMPRESSED)})"
        )
    if columns is not None and not suffixes <= CSVS:
        raise RequestError(
            f"{where}: ingest.columns is only for .csv and .tsv without a header line"
        )
    csv = CsvReader(connection, texts, columns)
    read = read_json_lines if suffixes <= JSON_LINES else csv.read
    parts: list[Path] = []
    damaged: list[DamagedRow] = []
    for number, (path, store) in enumerate(zip(paths, stores, strict=True)):
        part = folder / f"{Path(path).stem}-{number}.parquet"
        name = path.rsplit("/", 1)[-1]
        try:
            # The copy keeps the ending, by which DuckDB knows the separator of columns.
            plain = plain_copy(store, "", folder / f"{number}-{uncompressed(name)}")
            held = Store(str(plain)) if plain else store
            if suffixes <= CSVS and columns is None and not held.size(""):
                continue  # without a header line it would get a column that nobody named
            file = utf8_copy(held, "", folder / f"{part.name}.utf8", encoding) or plain or path
            damaged += read(Store(str(file), storage_options), name, part)
        except (duckdb.Error, OSError) as error:
            raise RequestError(f"{where}: {path!r} cannot be read: {reason(error)}") from error
        if plain:
            plain.unlink()
        parts.append(part)
    if not parts:
        raise RequestError(f"{where}: {paths[0]!r} is empty; its first line must name the columns")
    return UpstreamTable(of_files(connection, parts), damaged)


def _of_parquet(
    connection: duckdb.DuckDBPyConnection, stores: Mapping[str, Store], where: str, folder: Path
) -> UpstreamTable:
    """Reads Parquet files. Raises RequestError, with the name of the file, if one is damaged."""
    lost: dict[str, None] = {}
    paths = list(stores)
    try:
        kinds, meet = {*described(connection, _united(paths)).values()}, True
    except duckdb.Error:  # incompatible types, or a damaged file
        kinds, meet = _kinds_of_each(connection, paths, where), False
    if any(re.search(r"\bTIME", kind) for kind in kinds):
        for number, store in enumerate(stores.values()):
            copy = folder / f"held-{number:06d}.parquet"
            if (found := held_copy(store, "", copy)) is not None:
                paths[number] = str(copy)
                lost |= dict.fromkeys(found)
    # If a column is a number in one file and a structure in another, only reading rows would fail.
    meet = meet and not any(map(is_nested, kinds))
    return UpstreamTable(_united(paths) if meet else of_files(connection, paths), lost=list(lost))


def _united(paths: Sequence[str]) -> str:
    names = ", ".join(literal(path) for path in paths)
    return f"SELECT * FROM read_parquet([{names}], union_by_name = true)"


def _kinds_of_each(
    connection: duckdb.DuckDBPyConnection, paths: Sequence[str], where: str
) -> set[str]:
    """Returns the DuckDB types of the files' columns. Raises RequestError with a damaged file."""
    kinds: set[str] = set()
    for path in paths:
        try:
            kinds |= {*described(connection, _united([path])).values()}
        except duckdb.Error as error:
            raise RequestError(f"{where}: {path!r} cannot be read: {reason(error)}") from error
    return kinds


def utf8_copy(store: Store, name: str, target: Path, encoding: str | None) -> Path | None:
    """Makes a local UTF-8 copy of a text file in another encoding.

    A byte-order mark determines the encoding of the whole file. Without one, `encoding` is tried
    for each line that is not UTF-8. Lines that are in neither encoding are copied unchanged.

    Args:
        store: The store with the file.
        name: Name of the file; empty if the store is the file itself.
        target: Path of the copy.
        encoding: Encoding to try for lines that are not UTF-8; None for none.

    Returns:
        `target`; None, without a copy, if no conversion is needed.

    Raises:
        RequestError: The file is not in the encoding of its byte-order mark.
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
            texts.read(1)  # skip the mark
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

"""Counts rows of a source that changed since they were ingested: pictures, captions, rows gone.

The corpus is not changed; the counts are only reported. The comparison has two steps:

1. A file counts as unchanged if it has the same size and place, and was last modified (mtime and
   ctime) before its claim was written.
2. All other files are read: the picture's SHA-256 is compared with that of its record, the caption
   with the record's caption. So a time alone never counts as a change. With
   `ingest.compare_bytes`, all files are read.

For URL lists, and tables with embedded pictures, only captions are compared.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import IO, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.blocked import BLOCKED, TAKEN_DOWN
from nucleus_data.errors import CorpusError
from nucleus_data.sql import identifier, literal
from nucleus_data.stages.ingest.fetch import beside, read_file, tar_columns
from nucleus_data.stages.ingest.listing.locate import Location
from nucleus_data.stages.ingest.listing.runs import number_repeated, sorted_rows
from nucleus_data.stages.ingest.listing.spool import (
    BATCH,
    BESIDE_CHANGED,
    CHANGED,
    LOCATION,
    SIDECARS,
    batches,
)
from nucleus_data.stages.ingest.listing.sql import described, row_count
from nucleus_data.stages.ingest.listing.walk import changed_at, told_time
from nucleus_data.stages.ingest.settings import IngestSettings
from nucleus_data.stages.ingest.sidecars import CAPTION

# Seconds: the coarsest time resolution of a file system.
COARSE = 2.0
_PLACE = ("path", "offset", "size")
_BESIDE = ("caption_offset", "caption_size", "json_offset", "json_size", *SIDECARS)


@dataclass
class Changes:
    """Numbers of rows of the corpus that changed in the source.

    Attributes:
        pictures: Rows with another picture now.
        captions: Rows with another caption now.
        gone: Rows that the source no longer has.
        unread: Rows that can't be compared, since they can't be read now.
    """

    pictures: int = 0
    captions: int = 0
    gone: int = 0
    unread: int = 0

    def lines(self) -> list[str]:
        """Returns a line for people; none if nothing changed."""
        counts = (
            (self.pictures, "pictures"),
            (self.captions, "captions"),
            (self.gone, "rows removed"),
            (self.unread, "rows now unreadable"),
        )
        parts = [f"{count} {what}" for count, what in counts if count]
        if not parts:
            return []
        return [
            f"changed in the source since it was ingested: {', '.join(parts)}. The corpus keeps "
            "what it has; to ingest the current version, use another ingest.name"
        ]


def find_changes(
    corpus: Corpus,
    location: Location,
    settings: IngestSettings,
    candidates: Path,
    known: Path,
    connection: duckdb.DuckDBPyConnection,
    *,
    whole: bool,
) -> Changes:
    """Compares a source's current rows with its claims and records.

    Args:
        corpus: The corpus.
        location: The source.
        settings: The settings of the ingest.
        candidates: File with the rows that the source has now (`identify.identified`).
        known: File with the claimed rows, in the schema `claims.CLAIMED_SCHEMA`.
        connection: DuckDB.
        whole: Whether the candidates are all rows of the source, so that all others are gone.
    """
    changes = Changes()
    now = f"read_parquet({literal(str(candidates))})"
    before = _newest_claims(candidates, known, connection)
    if whole:
        changes.gone = row_count(f"{before} k ANTI JOIN {now} c ON c.id = k.id", connection)
    columns = described(connection, f"SELECT * FROM {now}")
    caption = f"c.{identifier(CAPTION)}" if CAPTION in columns else "NULL::VARCHAR"
    pairs = _Pairs(f"{now} c JOIN {before} k ON c.id = k.id", frozenset(columns), caption)
    if location.kind in ("urls", "embedded"):  # pictures inside tables have no time of their own
        changes.captions = row_count(f"{pairs.sql} WHERE {pairs.other_caption}", connection)
        return changes
    doubtful = _doubtful(location, settings, candidates, pairs, connection)
    _look(corpus, location, settings, doubtful, changes)
    return changes


@dataclass(frozen=True)
class _Pairs:
    """Rows that are listed now and were claimed before, as SQL: `c` is listed, `k` is claimed.

    Attributes:
        sql: The join.
        columns: Names of the columns of `c`.
        caption: The listed caption.
    """

    sql: str
    columns: frozenset[str]
    caption: str

    @property
    def other_caption(self) -> str:
        """The SQL condition that the caption differs."""
        return f"{self.caption} IS DISTINCT FROM k.caption"

    def other(self, names: Sequence[str]) -> str:
        """Returns the SQL condition that any of some columns differs."""
        both = ((f"c.{n}" if n in self.columns else "NULL", f"k.{n}") for n in names)
        return " OR ".join(f"{now} IS DISTINCT FROM {before}" for now, before in both)


def _newest_claims(candidates: Path, known: Path, connection: duckdb.DuckDBPyConnection) -> str:
    """Returns a SQL source of the claimed rows: of each id, only the newest claim (a retry's)."""
    # Of pictures that were taken down, nothing is left to compare with.
    taken = (
        f"(SELECT * FROM read_parquet({literal(str(known))}) "
        f"WHERE error IS DISTINCT FROM '{TAKEN_DOWN}')"
    )
    newest, older = (candidates.with_name(f"{name}.parquet") for name in ("newest", "older"))
    sorted_rows(f"SELECT id, shard FROM {taken}", ["id", "shard DESC"], newest, connection)
    number_repeated(newest, "id", older)
    return (
        f"(SELECT * FROM {taken} ANTI JOIN read_parquet({literal(str(older))}) USING (id, shard))"
    )


def _doubtful(
    location: Location,
    settings: IngestSettings,
    candidates: Path,
    pairs: _Pairs,
    connection: duckdb.DuckDBPyConnection,
) -> Path:
    """Writes the rows that may have changed to a file, by shard and row.

    Column `look` says whether the picture may have changed, `look_beside` whether its caption or
    JSON file may have.
    """
    times = ""
    changed, beside_changed = f"c.{CHANGED}", f"c.{BESIDE_CHANGED}"
    if CHANGED not in pairs.columns:
        table = _times(location, candidates)
        times = f"LEFT JOIN read_parquet({literal(str(table))}) f ON f.path = c.path"
        changed = beside_changed = f"f.{CHANGED}"

    def later(time: str) -> str:
        return f"{time} >= k.claimed - {COARSE} OR {settings.compare_bytes}"

    query = (
        f"SELECT c.*, {pairs.caption} AS told, k.shard, k.row AS taken_row, "
        f"({pairs.other(_PLACE)} OR coalesce({later(changed)}, false)) AS look, "
        f"({pairs.other(_BESIDE)} OR {pairs.other_caption} "
        f"OR coalesce({later(beside_changed)}, false)) "
        f"AS look_beside, k.size AS size_before FROM {pairs.sql} {times} WHERE c.error IS NULL"
    )
    doubtful = candidates.with_name("doubtful.parquet")
    connection.execute(
        f"COPY (SELECT * FROM ({query}) WHERE look OR look_beside ORDER BY shard, taken_row) "
        f"TO {literal(str(doubtful))} (FORMAT parquet, ROW_GROUP_SIZE {BATCH})"
    )
    return doubtful


def _times(location: Location, candidates: Path) -> Path:
    """Writes the time of each tar's last change to a Parquet file with `path` and `changed`."""
    root = location.root
    rows = []
    for name in location.files:
        path = root.path(name)
        if root.exists(name):
            time = changed_at(Path(path).stat()) if root.local else told_time(root.fs.info(path))
            rows.append({"path": name.encode("utf-8", "surrogateescape"), CHANGED: time})
    schema = pa.schema([("path", pa.binary()), (CHANGED, pa.float64())])
    target = candidates.with_name("times.parquet")
    pq.write_table(pa.Table.from_pylist(rows, schema), target)
    return target


def _look(
    corpus: Corpus, location: Location, settings: IngestSettings, doubtful: Path, changes: Changes
) -> None:
    """Reads the rows that may have changed, and counts those that did."""
    with ExitStack() as stack:
        source = _Source(location, settings, stack)
        for shard, rows in groupby(_rows(doubtful), lambda row: row["shard"]):
            wanted = ["row", "size", "sha256", "error", CAPTION]
            table = corpus.records.read(shard, wanted)
            if table is None:
                continue  # not built yet: it will be built from the current files
            records = {record["row"]: record for record in table.to_pylist()}
            for row in rows:
                record = records.get(row["taken_row"])
                if record is None or record["error"] == BLOCKED:
                    continue
                try:
                    if row["look"] and source.is_other(row, record):
                        changes.pictures += 1
                    if row["look_beside"] and source.caption(row) != record.get(CAPTION):
                        changes.captions += 1
                except (OSError, CorpusError):
                    changes.unread += 1


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    names = [*LOCATION.names, *SIDECARS, "told", "shard", "taken_row", "look", "look_beside"]
    for batch in batches(path, [*names, "size_before"]):
        yield from batch.to_pylist()


class _Source:
    """Reads the current pictures and captions of a source; keeps one tar open."""

    def __init__(self, location: Location, settings: IngestSettings, stack: ExitStack) -> None:
        self.root = location.root
        self.kind = location.kind
        self.encoding = settings.caption_encoding
        self.top = Path(self.root.root or "/").resolve() if self.root.local else None
        self._stack = stack
        self._open: tuple[bytes, IO[bytes]] | None = None

    def is_other(self, row: dict[str, Any], record: dict[str, Any]) -> bool:
        """Whether a row's picture differs from that of its record."""
        if record["error"] is not None:
            return bool(row["size"] != row["size_before"])
        if row["size"] != record["size"]:
            return True
        if self.kind == "folder":
            data = read_file(self.root, row["path"], self.top)
        else:
            tar = self._tar(row["path"])
            tar.seek(row["offset"])
            data = tar.read(row["size"])
        return bool(hashlib.sha256(data).hexdigest() != record["sha256"])

    def caption(self, row: dict[str, Any]) -> str | None:
        """Returns the caption that an ingest would take from a row now."""
        found: dict[str, Any] = {}
        if row["told"] is None and self.kind == "folder":
            found = beside(self.root, row, self.top, self.encoding)
        elif self.kind == "tars":
            found = tar_columns(self._tar(row["path"]), row, self.encoding)
        caption: str | None = found.get(CAPTION, row["told"])
        return caption

    def _tar(self, path: bytes) -> IO[bytes]:
        if self._open is None or self._open[0] != path:
            self._stack.pop_all().close()
            name = path.decode("utf-8", "surrogateescape")
            file = self._stack.enter_context(self.root.fs.open(self.root.path(name), "rb"))
            self._open = path, file
        return self._open[1]

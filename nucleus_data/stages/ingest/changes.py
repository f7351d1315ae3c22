"""What became of rows that an earlier ingest took: pictures and captions that changed, rows gone.

Nothing of it changes the corpus; it is counted, and said. What is compared with what:

- The time when a file last changed (its inode's too, which a copy cannot carry over) with the time
  of its claim. An older file of the same size at the same place is what was ingested.
- All others are read: a picture's SHA-256 with that of its record, a caption with its record's.
  So a time alone never says that something changed, and `ingest.compare_bytes` reads everything.
- Of a URL list, and of tables that hold pictures, the captions; no picture is read again.
"""

import hashlib
from collections.abc import Iterator
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
    quoted,
)
from nucleus_data.stages.ingest.listing.sql import described, named, row_count
from nucleus_data.stages.ingest.listing.walk import changed_at, told_time
from nucleus_data.stages.ingest.settings import IngestSettings
from nucleus_data.stages.ingest.sidecars import CAPTION

# Seconds: no file system tells times more coarsely.
COARSE = 2.0
_PLACE = ("path", "offset", "size")
_BESIDE = ("caption_offset", "caption_size", "json_offset", "json_size", *SIDECARS)


@dataclass
class Changes:
    """What became of rows that the corpus has.

    Attributes:
        pictures: Rows whose picture is another one now.
        captions: Rows whose caption is another one now.
        gone: Rows that the source no longer has.
        unread: Rows of which that cannot be told, for they cannot be read now.
    """

    pictures: int = 0
    captions: int = 0
    gone: int = 0
    unread: int = 0

    def lines(self) -> list[str]:
        """The counts in words, for people; nothing if nothing changed."""
        told = (
            (self.pictures, "pictures changed"),
            (self.captions, "have another caption"),
            (self.gone, "are no longer there"),
            (self.unread, "cannot be read now"),
        )
        parts = [f"{count} {what}" for count, what in told if count]
        if not parts:
            return []
        return [
            f"since they were ingested: {', '.join(parts)}. The corpus keeps what it took; to take "
            "what is there now, ingest it under another ingest.name"
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
    """Compares what a source lists now with what its claims and records say.

    Args:
        corpus: The corpus.
        location: The source.
        settings: `compare_bytes`, `caption_encoding`.
        candidates: The rows that the source lists now (`identify.identified`).
        known: The rows that are claimed, as `claims.CLAIMED_SCHEMA`.
        connection: DuckDB.
        whole: Whether the candidates are all rows of the source, so that others are gone.
    """
    changes = Changes()
    now = f"read_parquet({quoted(str(candidates))})"
    # Of what was taken down, nothing is there to compare with.
    taken = (
        f"(SELECT * FROM read_parquet({quoted(str(known))}) "
        f"WHERE error IS DISTINCT FROM '{TAKEN_DOWN}')"
    )
    # A retry claims a row again; the newest claim counts.
    newest, older = (candidates.with_name(f"{name}.parquet") for name in ("newest", "older"))
    sorted_rows(f"SELECT id, shard FROM {taken}", ["id", "shard DESC"], newest, connection)
    number_repeated(newest, "id", older)
    before = (
        f"(SELECT * FROM {taken} ANTI JOIN read_parquet({quoted(str(older))}) USING (id, shard))"
    )
    if whole:
        changes.gone = row_count(f"{before} k ANTI JOIN {now} c ON c.id = k.id", connection)
    columns = described(connection, f"SELECT * FROM {now}")
    caption = f"c.{named(CAPTION)}" if CAPTION in columns else "NULL::VARCHAR"
    other_caption = f"{caption} IS DISTINCT FROM k.caption"
    both = f"{now} c JOIN {before} k ON c.id = k.id"
    if location.kind in ("urls", "embedded"):  # pictures inside tables have no time of their own
        changes.captions = row_count(f"{both} WHERE {other_caption}", connection)
        return changes
    times = ""
    changed, beside_changed = f"c.{CHANGED}", f"c.{BESIDE_CHANGED}"
    if CHANGED not in columns:
        table = _times(location, candidates)
        times = f"LEFT JOIN read_parquet({quoted(str(table))}) f ON f.path = c.path"
        changed = beside_changed = f"f.{CHANGED}"

    def other(names: tuple[str, ...]) -> str:
        pairs = ((f"c.{n}" if n in columns else "NULL", f"k.{n}") for n in names)
        return " OR ".join(f"{a} IS DISTINCT FROM {b}" for a, b in pairs)

    def later(time: str) -> str:
        return f"{time} >= k.claimed - {COARSE} OR {settings.compare_bytes}"

    query = (
        f"SELECT c.*, {caption} AS told, k.shard, k.row AS taken_row, "
        f"({other(_PLACE)} OR coalesce({later(changed)}, false)) AS look, "
        f"({other(_BESIDE)} OR {other_caption} OR coalesce({later(beside_changed)}, false)) "
        f"AS look_beside, k.size AS size_before FROM {both} {times} WHERE c.error IS NULL"
    )
    doubtful = candidates.with_name("doubtful.parquet")
    connection.execute(
        f"COPY (SELECT * FROM ({query}) WHERE look OR look_beside ORDER BY shard, taken_row) "
        f"TO {quoted(str(doubtful))} (FORMAT parquet, ROW_GROUP_SIZE {BATCH})"
    )
    _look(corpus, location, settings, doubtful, changes)
    return changes


def _times(location: Location, candidates: Path) -> Path:
    """When each tar last changed, as a Parquet file (path, changed)."""
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
    """Reads what may have changed, and counts what did."""
    with ExitStack() as stack:
        source = _Source(location, settings, stack)
        for shard, rows in groupby(_rows(doubtful), lambda row: row["shard"]):
            wanted = ["row", "size", "sha256", "error", CAPTION]
            table = corpus.records.read(shard, wanted)
            if table is None:
                continue  # not built yet: it will be built of what is there now
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
    """A source that is read again, one tar open at a time."""

    def __init__(self, location: Location, settings: IngestSettings, stack: ExitStack) -> None:
        self.root = location.root
        self.kind = location.kind
        self.encoding = settings.caption_encoding
        self.top = Path(self.root.root or "/").resolve() if self.root.local else None
        self._stack = stack
        self._open: tuple[bytes, IO[bytes]] | None = None

    def is_other(self, row: dict[str, Any], record: dict[str, Any]) -> bool:
        """Whether a row's picture is another one than its record's."""
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
        """A row's caption as an ingest would take it now."""
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

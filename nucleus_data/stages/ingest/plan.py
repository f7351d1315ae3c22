"""Plans an ingest: lists the source, leaves out what the corpus has, claims shards for the rest.

Nothing is held in memory that grows with the number of images: rows go through temporary Parquet
files, and DuckDB sorts, numbers and joins them.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.at_once import at_once
from nucleus_data.errors import RequestError
from nucleus_data.stages.ingest.changes import Changes, find_changes
from nucleus_data.stages.ingest.claims import (
    CLAIMED_SCHEMA,
    CLAIMS_AT_ONCE,
    Origin,
    chunks,
    claim_numbers,
    claim_times,
    claimed_rows,
    create_claim,
    read_origin,
    read_origins,
)
from nucleus_data.stages.ingest.http.downloader import require
from nucleus_data.stages.ingest.identify import identified
from nucleus_data.stages.ingest.listing.embedded import list_embedded
from nucleus_data.stages.ingest.listing.folder import list_folder
from nucleus_data.stages.ingest.listing.formats import counted
from nucleus_data.stages.ingest.listing.img2dataset import list_img2dataset
from nucleus_data.stages.ingest.listing.locate import Location, locate
from nucleus_data.stages.ingest.listing.spool import BATCH, Listing, connect, quoted
from nucleus_data.stages.ingest.listing.tars import list_tars
from nucleus_data.stages.ingest.listing.unread import unread
from nucleus_data.stages.ingest.listing.urls import list_urls
from nucleus_data.stages.ingest.other_types import other_types, with_texts
from nucleus_data.stages.ingest.progress import Planning
from nucleus_data.stages.ingest.settings import IngestSettings, Kind
from nucleus_data.stages.ingest.spread import spread


@dataclass
class IngestPlan:
    """What an ingest will do, and what it found.

    Attributes:
        source: The source's name.
        kind: What it is.
        uri: Where it is.
        found: Upstream rows seen (after `limit` and `sample`).
        already: Those that the corpus has, or that an earlier ingest claimed.
        new: Those that it lacks.
        new_shards: Image shards planned for the new rows (with `dry_run`: that would be).
        todo: Numbers of all claimed shards of this source whose records are not committed yet.
        skipped: Extension -> number of files that are no images.
        notes: Sentences for people.
        changes: What became of rows that the corpus has.
        hosts: How many hosts the new rows of a URL list are of, for people.
    """

    source: str
    kind: Kind
    uri: str
    found: int = 0
    already: int = 0
    new: int = 0
    new_shards: int = 0
    todo: list[int] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)
    hosts: str | None = None

    def lines(self) -> list[str]:
        """The plan in words, for people."""
        first = (
            f"{self.source} ({self.kind}): {self.found} rows found, {self.already} already in the "
            f"corpus, {self.new} new in {self.new_shards} image shards"
        )
        other = [f"other files, not images: {counted(self.skipped)}"] if self.skipped else []
        hosts = [self.hosts] if self.hosts is not None and self.new else []
        return [first, *hosts, *other, *self.notes, *self.changes.lines()]


def plan_ingest(
    corpus: Corpus,
    settings: IngestSettings,
    *,
    limit: int | None = None,
    sample: float | None = None,
    dry_run: bool = False,
    planning: Planning | None = None,
) -> IngestPlan:
    """Lists a source and claims image shards for the rows that the corpus lacks.

    Args:
        corpus: Where the images go.
        settings: What the source is.
        limit: Only the first so many upstream rows.
        sample: Only this share of the rows, in (0, 1], chosen by a keyed hash of their ids.
        dry_run: Count, but claim nothing.
        planning: Told how far it is.

    Returns:
        Counts, and the numbers of the shards to build: the new ones, and those that an earlier
        ingest of this source left unfinished.

    Raises:
        RequestError: The source is missing, holds no images, or its name is another source's.
    """
    if limit is not None and limit < 1:
        raise RequestError(f"--limit must be 1 or more, got {limit}")
    if sample is not None and not 0 < sample <= 1:
        raise RequestError(f"--sample must be above 0 % and at most 100 %, got {sample:%}")
    location = locate(settings)
    planning = planning or Planning()
    with tempfile.TemporaryDirectory(prefix="nucleus-ingest-") as temporary:
        folder = Path(temporary)
        with connect(folder) as connection:
            listing = _list(location, settings, folder, connection, limit)
            plan = IngestPlan(location.name, location.kind, location.uri)
            plan.skipped, plan.notes = listing.skipped, listing.notes
            candidates = identified(listing, location, folder, connection, limit, sample, planning)
            plan.found = _count(candidates, connection)
            origin = Origin(
                location.kind,
                location.name,
                location.uri,
                location.root.uri,
                settings.for_claim(),
            )
            # Until no other ingest of the same source claimed rows between our look and our claims.
            while True:
                seen = set(claim_numbers(corpus.store))
                known, examples = _known(corpus, seen, origin, settings, folder)
                fresh = _fresh(candidates, known, folder, connection)
                texts = other_types(corpus, examples, pq.read_schema(fresh))
                if location.kind == "urls" and settings.downloader == "nucleus":
                    hosts = spread(fresh, settings.images_per_shard, folder, connection)
                    fresh, plan.hosts = hosts.rows, hosts.note()
                    if not dry_run:
                        hosts.check_contact(settings.contact)
                if _claim(corpus, seen, fresh, origin, settings, plan, texts, dry_run, planning):
                    break
            if texts and plan.new:
                plan.notes.append(
                    "numbers here and dates in the corpus, or the other way round, so kept as "
                    f"texts: {', '.join(texts)}"
                )
            plan.already = plan.found - plan.new
            if known is not None:
                whole = limit is None and (sample is None or sample == 1)
                plan.changes = find_changes(
                    corpus, location, settings, candidates, known, connection, whole=whole
                )
    plan.todo = _unfinished(corpus, location.name)
    return plan


def _list(
    location: Location,
    settings: IngestSettings,
    folder: Path,
    connection: duckdb.DuckDBPyConnection,
    limit: int | None,
) -> Listing:
    if settings.captions is not None and location.kind != "folder":
        raise RequestError(
            f"ingest.captions is for folders; {settings.source!r} is of kind {location.kind}"
        )
    try:
        if location.kind == "folder":
            return list_folder(location, settings, folder, connection)
        if location.kind == "tars":
            return list_tars(location, folder, connection, limit)
        if location.kind == "img2dataset":
            return list_img2dataset(location, folder, connection, limit)
        if location.kind == "embedded":
            return list_embedded(location, settings, folder, connection, limit)
        require(settings.downloader)
        return list_urls(location, settings, folder, connection, limit)
    except duckdb.Error as error:
        raise unread(location, error, folder, connection) from error


def _known(
    corpus: Corpus, seen: set[int], origin: Origin, settings: IngestSettings, folder: Path
) -> tuple[Path | None, list[int]]:
    """Writes the rows in claims of this source to a file; None if there is no such claim.

    Returns:
        The file, and a claim of each source.
    """
    target = folder / "known.parquet"
    target.unlink(missing_ok=True)
    mine = []
    examples: dict[str, int] = {}
    for number, earlier in read_origins(corpus, sorted(seen)):
        examples.setdefault(earlier.source, number)
        if earlier.source == origin.source:
            _check_same_source(earlier, origin, settings)
            mine.append(number)
    if not mine:
        return None, [*examples.values()]
    times = claim_times(corpus.store)
    claimed = at_once(
        corpus.store, lambda n: claimed_rows(corpus, n, times.get(n)), mine, CLAIMS_AT_ONCE
    )
    with pq.ParquetWriter(target, CLAIMED_SCHEMA) as writer:
        for rows in claimed:
            writer.write_table(rows)
    return target, [*examples.values()]


def _check_same_source(earlier: Origin, origin: Origin, settings: IngestSettings) -> None:
    """Two sources under one name would hide each other's records."""
    if earlier.kind != origin.kind:
        raise RequestError(
            f"the source name {origin.source!r} belongs to a source of kind {earlier.kind} "
            f"({earlier.uri}); this one is of kind {origin.kind}. Give it another ingest.name"
        )
    if earlier.uri != origin.uri and settings.name is None:
        raise RequestError(
            f"the source name {origin.source!r} was taken by {earlier.uri}; this one is "
            f"{origin.uri}. Give it a name of its own with ingest.name, or, if it is the same "
            f"source that moved, say ingest.name={origin.source}"
        )


def _fresh(
    candidates: Path, known: Path | None, folder: Path, connection: duckdb.DuckDBPyConnection
) -> Path:
    """The candidates whose ids are not known, in order."""
    if known is None:
        return candidates
    target = folder / "fresh.parquet"
    connection.execute(
        f"COPY (SELECT c.* FROM read_parquet({quoted(str(candidates))}) c "
        f"ANTI JOIN (SELECT id FROM read_parquet({quoted(str(known))})) k ON c.id = k.id "
        f"ORDER BY c.position) "
        f"TO {quoted(str(target))} (FORMAT parquet, ROW_GROUP_SIZE {BATCH})"
    )
    return target


def _claim(
    corpus: Corpus,
    seen: set[int],
    fresh: Path,
    origin: Origin,
    settings: IngestSettings,
    plan: IngestPlan,
    texts: Sequence[str],
    dry_run: bool,
    planning: Planning,
) -> bool:
    """Claims shards for rows, in order, and counts them in the plan.

    The columns in `texts` are claimed as texts.

    Every number that was not seen is tried in turn, so a claim that was made since then is met.

    Returns:
        Whether all rows are claimed; if not, another ingest of the same source took some of them
        meanwhile, and what is left must be found out again.
    """
    number = 0
    for rows in chunks(fresh, settings.images_per_shard, settings.bytes_per_shard):
        rows = with_texts(rows, texts)
        while number in seen or not (dry_run or create_claim(corpus, number, rows, origin)):
            if number not in seen and read_origin(corpus, number).source == origin.source:
                return False
            number += 1
        number += 1
        plan.new_shards += 1
        plan.new += rows.num_rows
        planning.at(plan.new, "put into shards")
    return True


def _unfinished(corpus: Corpus, source: str) -> list[int]:
    """Claimed shards of a source whose records are not committed, whoever claimed them."""
    done = set(corpus.shards())
    missing = [number for number in claim_numbers(corpus.store) if number not in done]
    return [n for n, origin in read_origins(corpus, missing) if origin.source == source]


def _count(path: Path, connection: duckdb.DuckDBPyConnection) -> int:
    row = connection.execute(f"SELECT count(*) FROM read_parquet({quoted(str(path))})").fetchone()
    return 0 if row is None else int(row[0])

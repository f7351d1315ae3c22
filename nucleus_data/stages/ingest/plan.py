"""Plans an ingest: lists the source, and claims image shards for rows that the corpus lacks.

Memory does not grow with the number of images: rows are in temporary Parquet files, which DuckDB
sorts, numbers and joins.
"""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from nucleus_data.corpus import Corpus
from nucleus_data.errors import RequestError
from nucleus_data.sql import literal
from nucleus_data.stages.ingest.changes import Changes, find_changes
from nucleus_data.stages.ingest.claiming import Claiming, NewClaims
from nucleus_data.stages.ingest.claims import claim_numbers, read_origins
from nucleus_data.stages.ingest.http.downloader import require
from nucleus_data.stages.ingest.identify import identified
from nucleus_data.stages.ingest.listing.embedded import list_embedded
from nucleus_data.stages.ingest.listing.folder import list_folder
from nucleus_data.stages.ingest.listing.formats import counted
from nucleus_data.stages.ingest.listing.img2dataset import list_img2dataset
from nucleus_data.stages.ingest.listing.locate import Location, locate
from nucleus_data.stages.ingest.listing.spool import Listing, connect
from nucleus_data.stages.ingest.listing.sql import row_count
from nucleus_data.stages.ingest.listing.tars import list_tars
from nucleus_data.stages.ingest.listing.unread import unread
from nucleus_data.stages.ingest.listing.urls import list_urls
from nucleus_data.stages.ingest.progress import Planning
from nucleus_data.stages.ingest.settings import IngestSettings, Kind


@dataclass
class IngestPlan:
    """The result of planning an ingest.

    Attributes:
        source: The source's name.
        kind: The source's kind.
        uri: The source's address.
        found: Number of upstream rows (after `limit` and `sample`).
        already: Number of these that the corpus has, or that an earlier ingest claimed.
        new: Number of the others.
        new_shards: Number of image shards claimed for the new rows (in a dry run: that would be).
        todo: Numbers of all claimed shards of this source whose records are not committed yet.
        skipped: Extension -> number of files that are not images.
        notes: Sentences for people.
        changes: Changes of rows that the corpus has, since they were claimed.
        hosts: For a URL list, the number of hosts of the new rows, in words.
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

    def count(self, claims: NewClaims) -> None:
        """Adds the counts of new claims, and a note about columns of another type."""
        self.new, self.new_shards, self.hosts = claims.rows, claims.shards, claims.hosts
        self.already = self.found - self.new
        if claims.texts and self.new:
            self.notes.append(
                "stored as text, because of numbers here and dates in the corpus, or vice versa: "
                f"{', '.join(claims.texts)}"
            )

    def lines(self) -> list[str]:
        """Returns the plan as lines for people."""
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
        corpus: The corpus.
        settings: The source, and how to read it.
        limit: Maximum number of upstream rows, the first ones; None for all.
        sample: Share of the rows, in (0, 1], chosen by a keyed hash of their ids; None for all.
        dry_run: Whether to only count, and claim nothing.
        planning: Receives the progress; None for no output.

    Returns:
        The counts, and the shards to build: new ones, and unfinished ones of earlier ingests of
        this source.

    Raises:
        RequestError: The source is missing, holds no images, or its name is another source's.
    """
    if limit is not None and limit < 1:
        raise RequestError(f"--limit must be 1 or more, got {limit}")
    if sample is not None and not 0 < sample <= 1:
        raise RequestError(f"--sample must be above 0 % and at most 100 %, got {sample:%}")
    location = locate(settings)
    planning = planning or Planning()
    plan = IngestPlan(location.name, location.kind, location.uri)
    with tempfile.TemporaryDirectory(prefix="nucleus-ingest-") as temporary:
        folder = Path(temporary)
        with connect(folder) as connection:
            listing = _list(location, settings, folder, connection, limit)
            plan.skipped, plan.notes = listing.skipped, listing.notes
            candidates = identified(listing, location, folder, connection, limit, sample, planning)
            plan.found = row_count(f"read_parquet({literal(str(candidates))})", connection)
            claiming = Claiming(corpus, settings, location, folder, connection, planning, dry_run)
            claims = claiming.claim_new(candidates)
            plan.count(claims)
            if claims.known is not None:
                whole = limit is None and (sample is None or sample == 1)
                plan.changes = find_changes(
                    corpus, location, settings, candidates, claims.known, connection, whole=whole
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
    """Lists a source's rows, by its kind. Raises RequestError if they can't be read."""
    if settings.captions is not None and location.kind != "folder":
        raise RequestError(
            f"ingest.captions is only for folders; {settings.source!r} is of kind {location.kind}"
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


def _unfinished(corpus: Corpus, source: str) -> list[int]:
    """Returns the claimed shards of a source without committed records, whoever claimed them."""
    done = set(corpus.shards())
    missing = [number for number in claim_numbers(corpus.store) if number not in done]
    return [n for n, origin in read_origins(corpus, missing) if origin.source == source]

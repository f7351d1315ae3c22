"""Claims image shards for the rows of a source that no claim has yet.

Several ingests may run at once. Each number belongs to the ingest that creates its claim first; an
ingest that meets a new claim of its own source looks at all claims again, so no row is claimed
twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.at_once import at_once
from nucleus_data.errors import RequestError
from nucleus_data.sql import literal
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
from nucleus_data.stages.ingest.listing.locate import Location
from nucleus_data.stages.ingest.listing.spool import BATCH
from nucleus_data.stages.ingest.other_types import other_types, with_texts
from nucleus_data.stages.ingest.progress import Planning
from nucleus_data.stages.ingest.settings import IngestSettings
from nucleus_data.stages.ingest.spread import spread


@dataclass
class NewClaims:
    """What was claimed.

    Attributes:
        rows: Number of claimed rows.
        shards: Number of claimed shards.
        known: File with the rows of earlier claims of this source; None if there are none.
        texts: Columns that were claimed as text, as their types conflict with the corpus's.
        hosts: For a URL list, the number of hosts of the rows, in words.
    """

    rows: int = 0
    shards: int = 0
    known: Path | None = None
    texts: Sequence[str] = ()
    hosts: str | None = None


@dataclass
class Claiming:
    """Claims image shards for the listed rows that no claim has yet.

    Attributes:
        corpus: The corpus.
        settings: The settings of the ingest.
        location: The source.
        folder: For temporary files.
        connection: DuckDB.
        planning: Receives the progress.
        dry_run: Whether to only count, and claim nothing.
    """

    corpus: Corpus
    settings: IngestSettings
    location: Location
    folder: Path
    connection: duckdb.DuckDBPyConnection
    planning: Planning
    dry_run: bool

    @cached_property
    def origin(self) -> Origin:
        """The footer of the new claims."""
        location = self.location
        return Origin(
            location.kind,
            location.name,
            location.uri,
            location.root.uri,
            self.settings.for_claim(),
        )

    def claim_new(self, candidates: Path) -> NewClaims:
        """Claims shards for the candidates that the corpus lacks.

        Args:
            candidates: The listed rows, with ids (`identify.identified`).

        Raises:
            RequestError: The source's name belongs to another source, or its many hosts need a
                contact.
        """
        new = NewClaims()
        # Repeated if another ingest of the same source claimed rows after `seen` was read.
        while True:
            seen = set(claim_numbers(self.corpus.store))
            new.known, examples = self._known(seen)
            fresh = self._fresh(candidates, new.known)
            new.texts = other_types(self.corpus, examples, pq.read_schema(fresh))
            if self.location.kind == "urls" and self.settings.downloader == "nucleus":
                hosts = spread(fresh, self.settings.images_per_shard, self.folder, self.connection)
                fresh, new.hosts = hosts.rows, hosts.note()
                if not self.dry_run:
                    hosts.check_contact(self.settings.contact)
            if self._claim(seen, fresh, new):
                return new

    def _known(self, seen: set[int]) -> tuple[Path | None, list[int]]:
        """Writes the rows in claims of this source to a file.

        Args:
            seen: Numbers of all claims.

        Returns:
            The file, or None if there is no such claim; and the number of one claim per source.
        """
        target = self.folder / "known.parquet"
        target.unlink(missing_ok=True)
        own = []
        examples: dict[str, int] = {}
        for number, earlier in read_origins(self.corpus, sorted(seen)):
            examples.setdefault(earlier.source, number)
            if earlier.source == self.origin.source:
                _check_same_source(earlier, self.origin, self.settings)
                own.append(number)
        if not own:
            return None, [*examples.values()]
        times = claim_times(self.corpus.store)
        claimed = at_once(
            self.corpus.store,
            lambda number: claimed_rows(self.corpus, number, times.get(number)),
            own,
            CLAIMS_AT_ONCE,
        )
        with pq.ParquetWriter(target, CLAIMED_SCHEMA) as writer:
            for rows in claimed:
                writer.write_table(rows)
        return target, [*examples.values()]

    def _fresh(self, candidates: Path, known: Path | None) -> Path:
        """Returns a file with the candidates whose ids are not in `known`, in order."""
        if known is None:
            return candidates
        target = self.folder / "fresh.parquet"
        self.connection.execute(
            f"COPY (SELECT c.* FROM read_parquet({literal(str(candidates))}) c "
            f"ANTI JOIN (SELECT id FROM read_parquet({literal(str(known))})) k ON c.id = k.id "
            f"ORDER BY c.position) "
            f"TO {literal(str(target))} (FORMAT parquet, ROW_GROUP_SIZE {BATCH})"
        )
        return target

    def _claim(self, seen: set[int], fresh: Path, new: NewClaims) -> bool:
        """Claims shards for rows, in order.

        Every number that is not in `seen` is tried in turn, so that claims made since are noticed.

        Args:
            seen: Numbers of claims that are accounted for.
            fresh: The rows.
            new: Gets the counts.

        Returns:
            Whether all rows are claimed. If not, another ingest of the same source has claimed some
            of them, and the caller has to find out again which rows are left.
        """
        number = 0
        for rows in chunks(fresh, self.settings.images_per_shard, self.settings.bytes_per_shard):
            rows = with_texts(rows, new.texts)
            while number in seen or not self._created(number, rows):
                if number not in seen and self._is_own(number):
                    return False
                number += 1
            number += 1
            new.shards += 1
            new.rows += rows.num_rows
            self.planning.at(new.rows, "put into shards")
        return True

    def _is_own(self, number: int) -> bool:
        """Whether a claim is of this source."""
        return read_origin(self.corpus, number).source == self.origin.source

    def _created(self, number: int, rows: pa.Table) -> bool:
        """Whether rows got a number; in a dry run, every number is free."""
        return self.dry_run or create_claim(self.corpus, number, rows, self.origin)


def _check_same_source(earlier: Origin, origin: Origin, settings: IngestSettings) -> None:
    """Refuses two sources with one name, as they would hide each other's records.

    Raises:
        RequestError: The name belongs to a source of another kind or at another address.
    """
    if earlier.kind != origin.kind:
        raise RequestError(
            f"the source name {origin.source!r} is already used by a source of kind {earlier.kind} "
            f"({earlier.uri}), but this one is of kind {origin.kind}. Choose another ingest.name"
        )
    if earlier.uri != origin.uri and settings.name is None:
        raise RequestError(
            f"the source name {origin.source!r} is already used by {earlier.uri}, but this source "
            f"is {origin.uri}. Choose another ingest.name or, if it is the same source that moved, "
            f"set ingest.name={origin.source}"
        )

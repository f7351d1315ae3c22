"""Plans a retry of downloads: claims the URLs of retryable failures.

They get new image shards, like rows of a new ingest, but with the ids and upstream columns of their
first claim. `corpus.records` describes how a new record supersedes the failed one. A URL that fails
again can be retried again.

No URL is claimed twice. Claims of an unfinished retry are left as they are (and built by this one).
Every claim takes the lowest free number; if another process took that meanwhile, planning starts
over.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.at_once import at_once
from nucleus_data.corpus.counts import Counts, Group, groups_of
from nucleus_data.corpus.damaged import DamagedError
from nucleus_data.corpus.record_counts import Schemas, count_records
from nucleus_data.stages.ingest.claims import (
    CLAIMS_AT_ONCE,
    RETRY_ROW,
    RETRY_SHARD,
    Origin,
    claim_numbers,
    create_claim,
    read_claim,
    read_origins,
    retried_places,
)
from nucleus_data.stages.ingest.http.downloader import require
from nucleus_data.stages.ingest.settings import IngestSettings

KIND = "urls"


@dataclass
class RetryPlan:
    """The plan of a retry.

    Attributes:
        rows: Number of URLs to download.
        todo: Numbers of the claimed image shards: new ones, and unfinished ones of earlier retries.
    """

    rows: int = 0
    todo: list[int] = field(default_factory=list)


def plan_retry(corpus: Corpus, settings: IngestSettings, *, dry_run: bool = False) -> RetryPlan:
    """Claims image shards for the failed downloads of all URL lists of a corpus.

    Args:
        corpus: The corpus.
        settings: Settings of the ingest. Explicitly given ones (`timeout_s`, `allow_hosts`, …)
            replace those in the first claims; others stay as they were.
        dry_run: Whether to only count the URLs, and claim nothing.

    Raises:
        RequestError: There is something to download, and img2dataset is not installed.
    """
    while True:
        # In this order, a retry that ends between two of these reads is seen by the later one.
        seen = set(claim_numbers(corpus.store))
        unfinished = sorted(seen - set(corpus.shards()))
        asked = at_once(corpus.store, lambda n: retried_places(corpus, n), unfinished)
        waiting = {n: places for n, places in zip(unfinished, asked, strict=True) if places}
        taken = {place for places in waiting.values() for place in places}
        failed = _failed(corpus, seen)
        shards = _shards(corpus, failed, taken, settings)
        if dry_run:
            return RetryPlan(len(taken) + sum(rows.num_rows for _, rows in shards))
        if waiting or failed:
            require(settings.downloader)
        claimed = _claim(corpus, seen, shards)
        if claimed is not None:
            rows = len(taken) + sum(claimed.values())
            return RetryPlan(rows, sorted({*waiting, *claimed}))


def count_group(corpus: Corpus, group: Group, firsts: Schemas | None = None) -> Counts:
    """Counts a group of `records` by reading its footers.

    Only failed downloads count as retryable, as failures of other sources are not retried. If a
    damaged claim hides the kind of its source, all retryable failures are counted.

    Args:
        corpus: The corpus.
        group: The group.
        firsts: Collects the parts' schemas, as in `count_records`.
    """
    found = list(count_records(group, firsts))
    lost = {one.shard: one.retryable for one in found if one.retryable}
    with suppress(DamagedError):
        seen = set(claim_numbers(corpus.store)) if lost else set()
        origins = dict(read_origins(corpus, sorted(seen & lost.keys())))
        lost = {n: count for n, count in lost.items() if n in origins and origins[n].kind == KIND}
    return Counts(
        sum(one.rows for one in found), sum(one.failed for one in found), sum(lost.values())
    )


def _failed(corpus: Corpus, seen: set[int]) -> list[int]:
    """Returns the shards of URL lists with retryable failures."""
    groups = groups_of(corpus.records)
    lost = [one.shard for group in groups for one in count_records(group) if one.retryable]
    claimed = read_origins(corpus, [n for n in lost if n in seen])
    return [n for n, origin in claimed if origin.kind == KIND]


def _shards(
    corpus: Corpus, failed: Sequence[int], taken: set[tuple[int, int]], settings: IngestSettings
) -> Iterator[tuple[Origin, pa.Table]]:
    """Yields (origin, rows) of new claims; rows of one source with equal columns are combined.

    Args:
        corpus: The corpus.
        failed: Shards with failures.
        taken: (shard, row) of records that an unfinished retry has claimed.
        settings: Settings of the ingest; explicitly given ones replace those of the first claims.
    """
    every = settings.for_claim()
    asked = {name: every[name] for name in every.keys() & settings.model_fields_set}
    held: dict[Any, tuple[Origin, pa.Table]] = {}
    rows_of = partial(_rows_to_retry, corpus, taken)
    for origin, table in at_once(corpus.store, rows_of, failed, CLAIMS_AT_ONCE):
        if not table.num_rows:
            continue
        origin = replace(origin, settings={**origin.settings, **asked})
        columns = tuple((column.name, str(column.type)) for column in table.schema)
        key = (*sorted(origin.footer().items()), columns)
        if key in held:
            table = pa.concat_tables([held[key][1], table])
        while len(table) >= settings.images_per_shard:
            yield origin, table.slice(0, settings.images_per_shard).combine_chunks()
            table = table.slice(settings.images_per_shard)
        held[key] = origin, table
    for origin, table in held.values():
        if len(table):
            yield origin, table.combine_chunks()


def _rows_to_retry(
    corpus: Corpus, taken: set[tuple[int, int]], shard: int
) -> tuple[Origin, pa.Table]:
    """A claim's rows that failed in a way that may pass, less those that are taken."""
    found = corpus.records.read(shard, ["row", "error", "retryable"])
    assert found is not None
    again = pc.and_(found.column("error").is_valid(), found.column("retryable"))
    failed: list[int] = found.filter(again).column("row").to_pylist()
    rows = [row for row in failed if (shard, row) not in taken]
    claim = read_claim(corpus, shard)
    table = claim.rows.take(pa.array(rows, pa.int32()))
    ours = {"row", RETRY_SHARD, RETRY_ROW} & set(table.column_names)
    table = table.drop_columns(sorted(ours))
    table = table.append_column(RETRY_SHARD, pa.array([shard] * len(rows), pa.int32()))
    return claim.origin, table.append_column(RETRY_ROW, pa.array(rows, pa.int32()))


def _claim(
    corpus: Corpus, seen: set[int], shards: Iterator[tuple[Origin, pa.Table]]
) -> dict[int, int] | None:
    """Claims the lowest free numbers: number -> rows; None if someone else took one of them."""
    claimed: dict[int, int] = {}
    number = 0
    for origin, rows in shards:
        while number in seen:
            number += 1
        if not create_claim(corpus, number, rows, origin):
            return None
        claimed[number] = rows.num_rows
        number += 1
    return claimed

"""Plans a retry of downloads: claims for URLs that failed in a way that may pass, and no others.

The URLs of failed, retryable records get new image shards, like rows of a new ingest, but with the
ids and upstream columns of their first claim. `records.Records` says how the newer record comes to
stand for the failed one. A URL that fails again may be tried again.

No URL is claimed twice: what an unfinished retry has claimed is left to it (and finished here), and
a number that someone else took meanwhile means that all is looked at again. Every claim goes to the
lowest free number, so a claim that was not there before is met first.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from nucleus_data.corpus import Corpus
from nucleus_data.stages.ingest.claims import (
    RETRY_ROW,
    RETRY_SHARD,
    Origin,
    claim_numbers,
    create_claim,
    read_claim,
    read_origin,
    retried_places,
)
from nucleus_data.stages.ingest.http.downloader import require
from nucleus_data.stages.ingest.settings import IngestSettings

KIND = "urls"


@dataclass
class RetryPlan:
    """What a retry will download.

    Attributes:
        rows: URLs.
        todo: Numbers of the claimed image shards: new ones, and unfinished ones of earlier retries.
    """

    rows: int = 0
    todo: list[int] = field(default_factory=list)


def plan_retry(corpus: Corpus, settings: IngestSettings) -> RetryPlan:
    """Claims image shards for the failed downloads of all URL lists of a corpus.

    Args:
        corpus: The corpus.
        settings: What is said in them about downloads (`timeout_s`, `allow_hosts`, …) replaces what
            the first ingest said; what is left out stays as it was.

    Raises:
        RequestError: There is something to download, and img2dataset is not installed.
    """
    while True:
        # The order counts: a retry that ends between two of these steps must be seen by the later.
        seen = set(claim_numbers(corpus.store))
        unfinished = sorted(seen - set(corpus.shards()))
        waiting = {n: places for n in unfinished if (places := retried_places(corpus, n))}
        taken = {place for places in waiting.values() for place in places}
        failed = _failed(corpus, seen, taken)
        if waiting or failed:
            require(settings.downloader)
        claimed = _claim(corpus, seen, _shards(corpus, failed, settings))
        if claimed is not None:
            rows = len(taken) + sum(claimed.values())
            return RetryPlan(rows, sorted({*waiting, *claimed}))


def count_failed(corpus: Corpus) -> int:
    """How many downloads a retry would try again; failures of other sources pass by no retry."""
    failed = _failed(corpus, set(claim_numbers(corpus.store)), set())
    return sum(len(rows) for rows in failed.values())


def _failed(corpus: Corpus, seen: set[int], taken: set[tuple[int, int]]) -> Mapping[int, list[int]]:
    """Shard -> rows of URL lists that failed in a way that may pass, less those that are taken."""
    if not corpus.records.part_names():
        return {}
    found = corpus.connection().sql(
        f"SELECT shard, row FROM {corpus.records.sql()} "
        "WHERE error IS NOT NULL AND retryable ORDER BY shard, row"
    )
    rows: dict[int, list[int]] = defaultdict(list)
    for shard, row in found.fetchall():
        if shard in seen and (shard, row) not in taken:
            rows[shard].append(row)
    return {n: rows[n] for n in rows if read_origin(corpus, n).kind == KIND}


def _shards(
    corpus: Corpus, failed: Mapping[int, list[int]], settings: IngestSettings
) -> Iterator[tuple[Origin, pa.Table]]:
    """The rows of new claims: rows of one source and the same columns together, in order."""
    said = settings.for_claim()
    asked = {name: said[name] for name in said.keys() & settings.model_fields_set}
    held: dict[Any, tuple[Origin, pa.Table]] = {}
    for shard, rows in failed.items():
        claim = read_claim(corpus, shard)
        origin = replace(claim.origin, settings={**claim.origin.settings, **asked})
        table = claim.rows.take(pa.array(rows, pa.int32()))
        ours = {"row", RETRY_SHARD, RETRY_ROW} & set(table.column_names)
        table = table.drop_columns(sorted(ours))
        table = table.append_column(RETRY_SHARD, pa.array([shard] * len(rows), pa.int32()))
        table = table.append_column(RETRY_ROW, pa.array(rows, pa.int32()))
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

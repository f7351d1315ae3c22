"""Counts of the table `records`, and the distinct schemas of its parts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from nucleus_data.corpus.at_once import some_at_once
from nucleus_data.corpus.corpus import Corpus
from nucleus_data.corpus.counts import KNOWN, Group, Known, groups_of
from nucleus_data.corpus.footers import Footer, read_ranges
from nucleus_data.corpus.records import Records
from nucleus_data.corpus.store import Store


class Schemas:
    """Collects distinct schemas, with the name of the first part that has each."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._found: list[Any] = []

    def add(self, footer: Footer) -> None:
        """Adds a part if its schema is new."""
        if (schema := footer.schema) not in self._found:
            self._found.append(schema)
            self.names.append(footer.name)


def parts_of_each_schema(corpus: Corpus, known: Known | None = None) -> list[str]:
    """Returns paths of parts of `records`: one for each distinct schema in each group of shards.

    Args:
        corpus: The corpus.
        known: The cached schemas; new ones are added. By default, those stored by finished runs.
    """
    groups = groups_of(corpus.records)
    if known is None:
        known = _known_of(corpus.store, groups)
    for group in groups:
        if group.key not in known.schemas:
            firsts = Schemas()
            for footer in corpus.records.footers(group.parts):
                firsts.add(footer)
            known.schemas[group.key] = firsts.names
    return [name for group in groups for name in known.schemas[group.key]]


@dataclass(frozen=True)
class ShardRecords:
    """Counts of a shard's records, without those that a retry superseded.

    Attributes:
        shard: The shard's number.
        rows: Number of records.
        failed: Number of these without a picture.
        retryable: Number of failed ones that may succeed if tried again.
    """

    shard: int
    rows: int
    failed: int
    retryable: int


def count_records(group: Group, firsts: Schemas | None = None) -> Iterator[ShardRecords]:
    """Counts a group of `records` by reading its footers, and the marks of retries.

    Footers tell only whether any failure is retryable. To count these, the columns `error` and
    `retryable` of such parts are read as well.

    Args:
        group: The group.
        firsts: Collects the parts' schemas, so that footers need not be read again for them.
    """
    records = group.table
    assert isinstance(records, Records)
    superseded = records.superseded_counts(group.marks)

    def count_part(name: str) -> tuple[Footer, ShardRecords]:
        (footer,) = records.footers([name])
        failed = footer.count("error")
        retryable = 0
        if failed and not footer.all_false("retryable"):
            found = read_ranges(records.store, footer, ["error", "retryable"])
            failures = found.filter(found.column("error").is_valid())
            retryable = sum(map(bool, failures.column("retryable").to_pylist()))
        shard = int(footer.keys["shard"])
        return footer, ShardRecords(shard, footer.num_rows, failed, retryable)

    for footer, found in some_at_once(records.store, count_part, group.parts):
        if firsts is not None:
            firsts.add(footer)
        less = superseded.pop(found.shard, 0)  # subtracted from only one of the shard's parts
        yield ShardRecords(
            found.shard, found.rows - less, found.failed - less, found.retryable - less
        )


def record_count(records: Records) -> int:
    """Returns the number of records, from cached counts or from footers."""
    groups = groups_of(records)
    known = _known_of(records.store, groups)
    total = 0
    for group in groups:
        if group.lasting and group.key in known.counts:
            total += known.counts[group.key].rows
            continue
        total += sum(footer.num_rows for footer in records.footers(group.parts))
        total -= sum(records.superseded_counts(group.marks).values())
    return total


def _known_of(store: Store, groups: Sequence[Group]) -> Known:
    """Returns the cached counts; for a single group, only if they are already in memory."""
    if len(groups) > 1:
        return Known.left(store)
    return store.listings.made_before(KNOWN) or Known()

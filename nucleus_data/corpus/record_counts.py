"""Of the table `records`: how many there are, and which schemas their parts have."""

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
    """The schemas of parts, and of each the first part that has it."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._found: list[Any] = []

    def add(self, footer: Footer) -> None:
        """Takes a part, if its schema is a new one."""
        if (schema := footer.schema) not in self._found:
            self._found.append(schema)
            self.names.append(footer.name)


def parts_of_each_schema(corpus: Corpus, known: Known | None = None) -> list[str]:
    """Paths below a corpus of parts of `records`: of each schema one, of each thousand shards.

    Args:
        corpus: The corpus.
        known: What is known; what was read is added to it. By default what finished runs left.
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
    """What a shard has of records; those that a retry has superseded are not among them."""

    shard: int
    rows: int
    failed: int
    retryable: int


def count_records(group: Group, firsts: Schemas | None = None) -> Iterator[ShardRecords]:
    """Reads the footers of a group of shards of `records`, and the marks of a retry.

    Of shards with failures, also the columns that tell which of them may pass: no more is known of
    these by their statistics than whether there are any.

    Args:
        group: The shards.
        firsts: Gets the parts' schemas, whose footers are read only once then.
    """
    records = group.table
    assert isinstance(records, Records)
    gone = records.superseded_counts(group.marks)  # of a shard, taken off once

    def one(name: str) -> tuple[Footer, ShardRecords]:
        (footer,) = records.footers([name])
        failed = footer.count("error")
        retryable = 0
        if failed and not footer.all_false("retryable"):
            found = read_ranges(records.store, footer, ["error", "retryable"])
            lost = found.filter(found.column("error").is_valid())
            retryable = sum(map(bool, lost.column("retryable").to_pylist()))
        shard = int(footer.keys["shard"])
        return footer, ShardRecords(shard, footer.num_rows, failed, retryable)

    for footer, found in some_at_once(records.store, one, group.parts):
        if firsts is not None:
            firsts.add(footer)
        less = gone.pop(found.shard, 0)
        yield ShardRecords(
            found.shard, found.rows - less, found.failed - less, found.retryable - less
        )


def record_count(records: Records) -> int:
    """How many records there are: known, or from footers."""
    groups = groups_of(records)
    known = _known_of(records.store, groups)
    whole = 0
    for group in groups:
        if group.lasting and group.key in known.counts:
            whole += known.counts[group.key].rows
            continue
        whole += sum(footer.num_rows for footer in records.footers(group.parts))
        whole -= sum(records.superseded_counts(group.marks).values())
    return whole


def _known_of(store: Store, groups: Sequence[Group]) -> Known:
    """What is known; of so few shards what was read before is, and nothing is read for it."""
    return Known.left(store) if len(groups) > 1 else store.listings.made_before(KNOWN) or Known()

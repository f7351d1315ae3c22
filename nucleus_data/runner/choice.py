"""The choice of records that a command works on, and the size of the work."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.at_once import growing
from nucleus_data.corpus.damaged import DamagedError
from nucleus_data.runner.candidates import sample_rows
from nucleus_data.runner.rows import StageJob
from nucleus_data.runner.work import Item, Size


@dataclass(frozen=True)
class Choice:
    """Which records to work on.

    Attributes:
        limit: Maximum number of records, the first ones; None for all.
        sample: Share of the records, chosen by a keyed hash of their ids.
    """

    limit: int | None = None
    sample: float = 1.0

    def options(self) -> str:
        """Returns the command-line options, such as ` --limit 5 --sample 1%`; empty for all."""
        limit = "" if self.limit is None else f" --limit {self.limit}"
        return limit + ("" if self.sample == 1 else f" --sample {100 * self.sample:g}%")


ALL = Choice()


def limited_items(
    corpus: Corpus, choice: Choice, job: StageJob, shards: Iterable[int]
) -> Iterator[Item]:
    """Yields the shards to process; with a limit, only as many as contain that many records.

    Args:
        corpus: The corpus.
        choice: Which records to work on.
        job: The stage's job.
        shards: All shards, in processing order.
    """
    remaining = choice.limit
    if remaining is None:
        yield from map(Item, shards)
        return

    def rows(shard: int) -> int | None:
        try:
            return job.open(shard, corpus=corpus).summary.rows
        except DamagedError:
            return None

    for shard, available in growing(corpus.store, rows, shards):
        if available is None:
            yield Item(shard)  # its worker will report the damage
            continue
        count = min(remaining, available)
        remaining -= count
        if count:
            yield Item(shard, count)
        if remaining <= 0:
            return


def shard_limits(corpus: Corpus, choice: Choice) -> dict[int, int] | None:
    """Returns shard -> how many of its (sampled) records a corpus-wide stage takes.

    None without a limit.
    """
    if choice.limit is None:
        return None
    remaining, limits = choice.limit, {}

    def rows(number: int) -> int:
        if choice.sample == 1:
            return len(corpus.records.covered(number))
        records = corpus.records.read(number, ["id"])
        return sample_rows(records, choice.sample).num_rows if records is not None else 0

    for number, count in growing(corpus.store, rows, corpus.shards()):
        limits[number] = min(count, remaining)
        remaining -= limits[number]
        if remaining <= 0:
            break
    return limits


def size_of(corpus: Corpus, choice: Choice, items: int, rows: int | None) -> Size:
    """Returns the size of some work.

    Args:
        corpus: The corpus.
        choice: Which records to work on; its limit applies unless `rows` is given.
        items: Number of items.
        rows: Maximum number of records involved; None for those of the corpus.
    """
    limit = choice.limit
    if rows is not None:
        return Size(items, lambda most: rows)
    if limit is not None:
        return Size(min(items, limit), lambda most: min(limit, _records(corpus, most)))
    return Size(items, lambda most: _records(corpus, most))


def _records(corpus: Corpus, most: int) -> int:
    """Counts the corpus's records; stops once there are more than `most`."""
    counted, records = 0, corpus.records

    def rows(name: str) -> int:
        with contextlib.suppress(DamagedError):  # reported when the shard is processed
            return sum(footer.num_rows for footer in records.footers([name]))
        return 0

    for _, count in growing(corpus.store, rows, records.whole_parts()):
        counted += count
        if counted > most:
            break
    return counted

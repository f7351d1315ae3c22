"""Counts the rows of a corpus's tables; a finished run stores its counts (`corpus.counts`)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.counts import (
    COUNTS,
    MOST_SHARDS,
    SHARDS_A_GROUP,
    Counts,
    Group,
    Known,
    count_table,
    counted,
    groups_of,
    list_tables,
)
from nucleus_data.corpus.damaged import DamagedError
from nucleus_data.corpus.record_counts import Schemas, parts_of_each_schema
from nucleus_data.corpus.records import Records
from nucleus_data.corpus.tables import Table
from nucleus_data.runner.run import Run
from nucleus_data.runner.work import Item, Summary
from nucleus_data.stage import Stage
from nucleus_data.stages.ingest.retry import count_group as count_records
from nucleus_data.stages.select.stage import TABLE as SELECTION

# Counts are stored from this number of shards on; for fewer, reading the footers is faster.
LEFT_FROM = 200


def count_tables(
    corpus: Corpus, tables: Sequence[Table], known: Known | None = None
) -> Iterator[Counts]:
    """Yields the counts of some tables, in order, reading footers of up to 10,000 shards each.

    Args:
        corpus: The corpus; its listings must be cached (`Store.listing_once`).
        tables: The tables.
        known: The cached counts; None for those stored by finished runs.
    """
    known = Known.left(corpus.store) if known is None else known
    list_tables(tables)
    for table in tables:
        yield counted(groups_of(table), known, partial(count_group, corpus, known=known))


def count_group(corpus: Corpus, group: Group, *, known: Known | None = None) -> Counts:
    """Counts a group of shards by reading its footers.

    Args:
        corpus: The corpus.
        group: The shards, of one table.
        known: Gets the schemas of the parts, if the table is `records`.
    """
    if not isinstance(group.table, Records):
        return count_table(group)
    firsts = Schemas()
    found = count_records(corpus, group, firsts)
    if known is not None:
        known.schemas[group.key] = firsts.names
    return found


@dataclass(frozen=True)
class CountTask:
    """Counts a group of shards of a table (a task of the runner).

    Attributes:
        uri: The corpus.
        storage_options: Options for fsspec.
        table: Name of the table.
        config_hash: Its config hash.
    """

    uri: str
    storage_options: Mapping[str, Any]
    table: str
    config_hash: str

    def run(self, number: int) -> Summary:
        """Counts the group with a number; `extra` has `<group key>:<kind of count>` -> count."""
        corpus = Corpus(self.uri, self.storage_options)
        summary = Summary()
        for group in groups_of(corpus.at(self.table, self.config_hash)):
            if group.number == number:
                found = count_group(corpus, group)
                for kind in ("rows", "failed", "retryable"):
                    summary.extra[f"{group.key}:{kind}"] = getattr(found, kind)
        return summary


def leave_counts(run: Run, stage: Stage[Any]) -> None:
    """Stores the counts of all tables pinned by a run in its folder, if the corpus is large.

    Args:
        run: The run, at its end.
        stage: The stage whose workers count if there are too many footers for this process.
    """
    corpus = run.corpus
    with corpus.store.listing_once():
        shards = len(corpus.shards())
        if shards < LEFT_FROM:
            return
        known, kept = Known.left(corpus.store), Known()
        tables = [corpus.at(n, h) for n, h in run.tables.items() if n != SELECTION]
        list_tables(tables)
        for table in tables:
            groups = [group for group in groups_of(table) if group.lasting]
            missing = [group for group in groups if group.key not in known.counts]
            if sum(group.shards for group in missing) > MOST_SHARDS:
                known.counts |= _by_workers(run, stage, table, missing)
            with suppress(DamagedError):  # reported when the table is read
                counted(groups, known, partial(count_group, corpus, known=known), shards)
            kept.counts |= {g.key: known.counts[g.key] for g in groups if g.key in known.counts}
        with suppress(DamagedError):
            parts_of_each_schema(corpus, known)
            keys = [group.key for group in groups_of(corpus.records)]
            kept.schemas = {key: known.schemas[key] for key in keys}
    corpus.store.put(run.path(COUNTS), kept.encode())


def _by_workers(
    run: Run, stage: Stage[Any], table: Table, groups: Sequence[Group]
) -> dict[str, Counts]:
    """Has workers count groups of a table's shards."""
    store = run.corpus.store
    task = CountTask(run.corpus.uri, store.storage_options, table.name, table.config_hash)
    items = [Item(group.number) for group in groups]
    rows = len(items) * SHARDS_A_GROUP
    report = run.loop(stage, task, items, len(items), phase="counts", keep=False, rows=rows)
    found: dict[str, dict[str, int]] = {}
    for name, count in report.summary.extra.items():
        key, _, kind = name.partition(":")
        found.setdefault(key, {})[kind] = count
    return {key: Counts(**counts) for key, counts in found.items()}

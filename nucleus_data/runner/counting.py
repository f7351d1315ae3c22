"""Counts the rows that a row stage has to process, and those already done, from Parquet footers.

This is possible for a stage that processes every image: the rows of its tables are done, and all
others have to be processed.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.counts import Group, Known, groups_of, list_tables
from nucleus_data.corpus.parts import row_numbers, rows_in
from nucleus_data.corpus.renewed import list_name
from nucleus_data.corpus.tables import Table
from nucleus_data.runner.run import ALL, Run
from nucleus_data.runner.work import Summary
from nucleus_data.stage import RowChoice, RowStage


def asks_about_all(run: Run, stage: RowStage[Any]) -> bool:
    """Whether every table of a stage gets a row for every image, unconditionally."""
    return (
        stage.chooses == "all"
        and run.choice == ALL
        and all(spec.chosen == RowChoice() and not spec.needs for spec in stage.tables())
        and not any(list_name(spec.name) in run.tables for spec in stage.tables())
    )


def count_by_footers(run: Run, stage: RowStage[Any]) -> Summary:
    """Counts `rows` and `already` of a stage for which `asks_about_all` holds.

    Groups of shards that are complete, by the counts that finished runs left, are not read.
    """
    corpus = run.corpus
    tables = [Table(corpus.store, s.name, run.tables[s.name]) for s in stage.tables()]
    list_tables([corpus.records, *tables])
    records, *others = ({g.number: g for g in groups_of(t)} for t in (corpus.records, *tables))
    known = Known.left(corpus.store) if len(records) > 1 else Known()
    summary = Summary()
    for number, group in records.items():
        of_tables = [groups.get(number) for groups in others]
        rows, already = _known(known, group, of_tables) or _count(corpus, group, of_tables)
        summary.rows += rows
        summary.already += already
    return summary


def _known(known: Known, records: Group, tables: Sequence[Group | None]) -> tuple[int, int] | None:
    """Returns the counts of a group that is known to be complete or empty; else None."""
    of_records = known.counts.get(records.key) if records.lasting else None
    if of_records is None:
        return None
    images = of_records.rows - of_records.failed
    if not all(tables):
        return images, 0
    counts = [known.counts.get(group.key) for group in tables if group]
    done = all(c is not None and c.rows + c.retryable == images for c in counts)
    return (images, images) if done else None


def _count(corpus: Corpus, records: Group, tables: Sequence[Group | None]) -> tuple[int, int]:
    """Counts a group of shards by reading its footers."""
    footers = corpus.records.footers(records.parts)
    images = sum(footer.num_rows - footer.count("error") for footer in footers)
    if not all(tables):  # a table without rows in this group lacks every image
        return images, 0
    shards = {corpus.records.shard_of(name) for name in records.parts}
    done: dict[int, list[list[str]]] = {}
    for at, group in enumerate(tables):
        assert group is not None
        for table, names in ((group.table, group.parts), (group.table.failed, group.failed)):
            for footer in table.footers(names):
                shard = int(footer.keys["shard"])
                if shard in shards:
                    texts = done.setdefault(shard, [[] for _ in tables])
                    texts[at].append(footer.rows)
    return images, sum(_in_all(texts) for texts in done.values())


def _in_all(texts: Sequence[Sequence[str]]) -> int:
    """Counts the rows that every table has.

    Args:
        texts: For each table, the encoded row numbers of its parts.
    """
    first = texts[0]
    if len(first) == 1 and all(text == first for text in texts):
        return rows_in(first[0])
    return len(reduce(np.intersect1d, map(row_numbers, texts)))

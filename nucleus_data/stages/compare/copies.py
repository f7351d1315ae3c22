"""Ranks all copies: in this process, or by workers if there are many pairs."""

import pyarrow as pa

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import PAIRS_SCHEMA, Table, parts_sql
from nucleus_data.runner.work import Item
from nucleus_data.stages.compare.members import (
    TABLE,
    ComparePlan,
    GatherTask,
    read_all,
    write_by,
    write_pairs,
)
from nucleus_data.stages.compare.order import (
    contenders,
    counts_of,
    failed_of,
    in_order,
    ranked,
    write_ranks,
)
from nucleus_data.stages.compare.partitioned import rank_partitioned
from nucleus_data.stages.compare.ranking import RankTask
from nucleus_data.stages.dedup.partitioned import RunTasks
from nucleus_data.stages.dedup.stage import TABLE as PAIRS
from nucleus_data.stages.dedup.stage import published_counts

COUNTED = ("records", "pictures", "compared", "failed")
THREADS = 8  # threads of the sort in this process


def rank_copies(
    plan: ComparePlan, corpus: Corpus, most: int, run_tasks: RunTasks
) -> dict[str, int] | None:
    """Ranks the copies of each picture, and writes the table.

    Args:
        plan: What is compared.
        corpus: The corpus.
        most: Most pairs that are read in this process; more are partitioned among workers.
        run_tasks: Runs tasks, given the phase's name, the task, the items, and their number.

    Returns:
        Counts: `records` with a copy, `pictures` that they are copies of, `compared` files, and how
        many of these `failed` to be decoded; None if tasks failed.
    """
    published = published_counts(corpus, plan.tables[PAIRS])
    pairs = published["pairs"] if published is not None else 0
    if pairs > most:
        counts = rank_partitioned(plan, pairs, most, run_tasks)
    else:
        counts = _rank_here(plan, corpus, run_tasks)
    return None if counts is None else {name: counts.get(name, 0) for name in COUNTED}


def _rank_here(plan: ComparePlan, corpus: Corpus, run_tasks: RunTasks) -> dict[str, int] | None:
    """Ranks with all pairs and all records with a copy in this process; workers read and decode."""
    groups = write_pairs(plan, corpus, _pairs(plan, corpus))
    if not groups:
        return {}
    if run_tasks("members", GatherTask(plan), plan.items(groups), len(groups)).failed:
        return None
    gathered = read_all(plan, corpus, "members", groups)
    assert gathered is not None
    members = in_order(gathered, THREADS)
    chosen = contenders(members, plan.members)
    numbers = write_by(plan, corpus, "copies", chosen, chosen["copies"].to_numpy() >> 32)
    if numbers and run_tasks("copies", RankTask(plan), map(Item, numbers), len(numbers)).failed:
        return None
    ranks = read_all(plan, corpus, "ranks", numbers)
    target = Table(corpus.store, TABLE, plan.tables[TABLE])
    write_ranks(target, ranked(members, ranks, plan.members, THREADS))
    return {**counts_of(members, chosen), "failed": failed_of(ranks)}


def _pairs(plan: ComparePlan, corpus: Corpus) -> pa.Table:
    """Reads all pairs that `dedup` found."""
    pairs = Table(corpus.store, PAIRS, plan.tables[PAIRS])
    if not pairs.part_names():
        return PAIRS_SCHEMA.empty_table()
    source = parts_sql(corpus.store, pairs.folder)
    rows: pa.Table = corpus.connection().sql(f"SELECT * FROM {source}").to_arrow_table()
    return rows

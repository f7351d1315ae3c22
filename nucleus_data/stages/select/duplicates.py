"""Decides which duplicates are dropped: in this process, or by workers if there are many pairs."""

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import parts_sql
from nucleus_data.stages.dedup.partitioned import RunTasks
from nucleus_data.stages.dedup.stage import TABLE as PAIRS
from nucleus_data.stages.dedup.stage import published_counts
from nucleus_data.stages.select.partitioned import walk_partitioned
from nucleus_data.stages.select.plan import SelectionPlan
from nucleus_data.stages.select.walking import (
    Copies,
    JudgeTask,
    members_of,
    pairs_of,
    read_groups,
    walk_duplicates,
    write_groups,
)

THREADS = 8  # threads of the sort in this process


def has_pairs(plan: SelectionPlan, corpus: Corpus) -> bool:
    """Returns whether `dedup` found any pair."""
    return bool(pairs_of(plan, corpus.store).part_names())


def drop_duplicates(
    plan: SelectionPlan, corpus: Corpus, most: int, run_tasks: RunTasks
) -> int | None:
    """Writes which duplicates are dropped for which survivor, and which records are placeholders.

    Args:
        plan: The plan of the selection.
        corpus: The corpus, which has pairs.
        most: Most pairs that are walked in this process; more are partitioned among workers, about
            as many each.
        run_tasks: Runs tasks, given the phase's name, the task, the items, and their number.

    Returns:
        The number of dropped records. None if tasks failed, so that the rules were not evaluated on
        all records in a pair: a walk over only some of them would keep records that a missing one
        should displace.

    Raises:
        RequestError: The order of preference fails on a record.
    """
    counts = published_counts(corpus, plan.tables[PAIRS])
    pairs = counts["pairs"] if counts is not None else 0
    if pairs > most:
        return walk_partitioned(plan, -(-pairs // most), run_tasks)
    source = parts_sql(corpus.store, pairs_of(plan, corpus.store).folder)
    table = corpus.connection().sql(f"SELECT * FROM {source}").to_arrow_table()
    groups = write_groups(plan, corpus, "members", members_of(table))
    if run_tasks("", JudgeTask(plan), plan.items(groups), len(groups)).failed:
        return None
    told = None
    if plan.placeholders is not None:
        told = read_groups(plan, corpus, "told", groups)
    copies = Copies(table, read_groups(plan, corpus, "kept", groups), told)
    found, dropped = walk_duplicates(plan, copies, THREADS)
    for kind, rows in (("placeholders", found), ("dropped", dropped)):
        write_groups(plan, corpus, kind, rows)
    return int(dropped.num_rows)


def clear(plan: SelectionPlan, corpus: Corpus) -> None:
    """Removes the temporary files of walks by workers."""
    corpus.store.remove_folder(plan.partitions())

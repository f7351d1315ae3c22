"""Runs a row stage over a whole corpus: counts the work, processes it, and retries failures."""

from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np

from nucleus_data.corpus.at_once import at_once
from nucleus_data.corpus.damaged import DamagedError
from nucleus_data.corpus.tables import Table
from nucleus_data.printed import counted
from nucleus_data.runner.candidates import passing_rows
from nucleus_data.runner.counting import asks_about_all, count_by_footers
from nucleus_data.runner.rows import ShardRows
from nucleus_data.runner.run import Run
from nucleus_data.runner.words import left_out, waiting
from nucleus_data.runner.work import Item, Summary
from nucleus_data.stage import RowStage

# Maximum number of shards that a dry run opens.
MOST_SHARDS = 10_000


def do_rows(run: Run, stage: RowStage[Any], *, retry: bool = False) -> None:
    """Runs a row stage on the rows that lack a result.

    Args:
        run: The run, with the stage's inputs pinned.
        stage: The stage.
        retry: Whether to process only rows with retryable failures.
    """
    job = run.job(stage, retry=retry)
    shards = run.corpus.shards()
    if retry:
        failed = shards_with_failures(run, stage)
        shards = [shard for shard in shards if shard in failed]
    if shards and (notice := stage.first_use()):
        run.say(f"{stage.name}: {notice}")
    run.loop(stage, job, run.items(job, shards), len(shards))


def count_rows(
    run: Run, stage: RowStage[Any], look: Callable[[ShardRows], Any] | None = None
) -> list[Any]:
    """Prints how many rows have a result, and how many would be processed.

    Args:
        run: The run.
        stage: The stage.
        look: Called with each shard, which is opened for that.

    Returns:
        The results of `look`.
    """
    noted: list[Any] = []
    with run.corpus.store.listing_once():
        if look is None and asks_about_all(run, stage):
            whole = count_by_footers(run, stage)
        else:
            whole = _count_each(run, stage, noted, look)
    rows, already = whole.rows, whole.already
    parts = [counted(rows, "row"), f"{already:,} already done", f"{rows - already:,} to do"]
    run.say(f"{stage.name}: {', '.join([*parts, *waiting(whole)])}")
    for line in left_out(whole):
        run.say(line)
    return noted


def _count_each(
    run: Run, stage: RowStage[Any], noted: list[Any], look: Callable[[ShardRows], Any] | None
) -> Summary:
    """Counts by opening each shard as a worker does; only some shards of a very large corpus.

    Args:
        run: The run.
        stage: The stage.
        noted: Gets the results of `look`.
        look: Called with each shard.
    """
    job, shards = run.job(stage), run.corpus.shards()
    if len(shards) > MOST_SHARDS:
        step = -(-len(shards) // MOST_SHARDS)
        run.say(f"{stage.name}: counting one in {step} of {len(shards):,} image shards")
        shards = shards[::step]

    def count(item: Item) -> tuple[Summary, Any]:
        state = job.open(item.number, item.limit, run.corpus)
        return state.summary, look(state) if look else None

    whole = Summary()
    for summary, about in at_once(run.corpus.store, count, run.items(job, shards)):
        whole.add(summary)
        if look:
            noted.append(about)
    return whole


def retry_rows(run: Run, stage: RowStage[Any]) -> None:
    """Retries a stage's failed rows, and the shards on which its newest run failed."""
    failed = run.newest_failed_shards(stage.name)
    do_rows(run, stage, retry=True)
    if failed:
        job = run.job(stage)
        run.loop(stage, job, run.items(job, failed), len(failed))


def count_failures(run: Run, stage: RowStage[Any]) -> None:
    """Prints what `retry_rows` would do."""
    tables = [Table(run.corpus.store, spec.name, run.tables[spec.name]) for spec in stage.tables()]

    def failed(shard: int) -> int:
        try:
            rows = [passing_rows(table, shard, stage.repeated) for table in tables]
        except DamagedError:
            return 0  # processing the shard will fail, and name the damaged file
        return len(np.unique(np.concatenate(rows)))

    shards = sorted(shards_with_failures(run, stage))
    rows = sum(at_once(run.corpus.store, failed, shards))
    parts = [f"{counted(rows, 'row')} to retry, in {counted(len(shards), 'shard')}"] * bool(shards)
    lost = run.newest_failed_shards(stage.name)
    parts += [f"{counted(len(lost), 'shard')} that failed"] * bool(lost)
    run.say(f"{stage.name}: {', and '.join(parts)}")


def has_failures(run: Run, stage: RowStage[Any]) -> bool:
    """Whether `retry_rows` has something to do."""
    lost = run.newest_failed_shards(stage.name)
    return bool(lost or shards_with_failures(run, stage))


def has_repeated(run: Run, stage: RowStage[Any]) -> bool:
    """Whether rows failed for a reason that only further attempts may fix."""
    return bool(stage.repeated and shards_with_failures(run, stage, repeated=True))


def shards_with_failures(run: Run, stage: RowStage[Any], *, repeated: bool = False) -> set[int]:
    """Returns shards with rows that have a retryable failure, and no value since.

    Args:
        run: The run.
        stage: The stage.
        repeated: Whether to look for rows that only further attempts may fix, and no others.
    """
    tables: Iterable[Table] = (
        Table(run.corpus.store, spec.name, run.tables[spec.name]) for spec in stage.tables()
    )
    pairs = [(table, shard) for table in tables for shard in table.failed.shards()]

    def has_failed(pair: tuple[Table, int]) -> bool:
        return _has_failed(*pair, stage.repeated, repeated)

    answers = zip(pairs, at_once(run.corpus.store, has_failed, pairs), strict=True)
    return {shard for (_, shard), failed in answers if failed}


def _has_failed(table: Table, shard: int, reasons: Collection[str], those: bool) -> bool:
    try:
        return len(passing_rows(table, shard, reasons, those=those)) > 0
    except DamagedError:
        return not those  # processing the shard will fail, and name the damaged file

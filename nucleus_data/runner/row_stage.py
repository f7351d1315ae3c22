"""A row stage over a whole corpus: what there is to do, doing it, and doing failures again."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.damaged import DamagedError
from nucleus_data.corpus.tables import Table
from nucleus_data.runner.run import Run
from nucleus_data.runner.words import waiting
from nucleus_data.runner.work import Summary
from nucleus_data.stage import RowStage

COUNTING_THREADS = 8


def do_rows(run: Run, stage: RowStage[Any], *, retry: bool = False) -> None:
    """Runs a row stage on the rows that lack a result.

    Args:
        run: The run; what the stage reads is pinned.
        stage: The stage.
        retry: Only rows that failed before in a way that may pass.
    """
    job = run.job(stage, retry=retry)
    shards = run.corpus.shards()
    if retry:
        failed = shards_with_failures(run, stage)
        shards = [shard for shard in shards if shard in failed]
    if shards and (notice := stage.first_use()):
        run.say(f"{stage.name}: {notice}")
    run.loop(stage, job, run.items(job, shards), len(shards))


def count_rows(run: Run, stage: RowStage[Any]) -> None:
    """Says how many rows have a result, and how many would be done."""
    job = run.job(stage)
    with ThreadPoolExecutor(COUNTING_THREADS) as pool:
        items = run.items(job, run.corpus.shards())
        counts = [s.summary for s in pool.map(lambda i: job.open(i.number, i.limit), items)]
    rows, already = sum(c.rows for c in counts), sum(c.already for c in counts)
    waits = Summary()
    for count in counts:
        waits.extra.update(count.extra)
    parts = [f"{rows:,} rows", f"{already:,} done before", f"{rows - already:,} to do"]
    run.say(f"{stage.name}: {', '.join([*parts, *waiting(waits)])}")


def retry_rows(run: Run, stage: RowStage[Any]) -> None:
    """Does again a stage's failed rows, and the shards that its newest run failed on."""
    failed = run.folder.newest_failed_shards(stage.name)
    do_rows(run, stage, retry=True)
    if failed:
        job = run.job(stage)
        run.loop(stage, job, run.items(job, failed), len(failed))


def has_failures(run: Run, stage: RowStage[Any]) -> bool:
    """Whether `retry_rows` has something to do."""
    lost = run.folder.newest_failed_shards(stage.name)
    return bool(lost or shards_with_failures(run, stage))


def shards_with_failures(run: Run, stage: RowStage[Any]) -> set[int]:
    """Shards with rows that failed in a way that may pass, and have no value since."""
    tables: Iterable[Table] = (
        Table(run.corpus.store, spec.name, run.tables[spec.name]) for spec in stage.tables()
    )
    return {
        shard
        for table in tables
        for shard in table.failed.shards()
        if _has_failed(run.corpus, table, shard)
    }


def _has_failed(corpus: Corpus, table: Table, shard: int) -> bool:
    try:
        return len(corpus.failed_rows(table, shard)) > 0
    except DamagedError:
        return True  # who works on the shard fails with the file's name

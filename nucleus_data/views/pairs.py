"""`dedup` as a step of a run: pairs of duplicates, corpus-wide."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from nucleus_data.errors import RequestError
from nucleus_data.hashing import config_hash
from nucleus_data.pages.pairs import EXACT, by_distance, write_pairs_page
from nucleus_data.pages.queries import Tables
from nucleus_data.runner.loop import Item, StageReport
from nucleus_data.runner.rows import Summary, sample_rows
from nucleus_data.runner.run import Run
from nucleus_data.stages.dedup.gather import READS, Source, other_sources, parts_of
from nucleus_data.stages.dedup.settings import HOW
from nucleus_data.stages.dedup.stage import compare, have_pairs, published_counts

DEDUP_VERSION = 2


def dedup(run: Run) -> None:
    """Finds all pairs of duplicates, corpus-wide."""
    table = pin_dedup(run)["dedup"]
    if run.dry_run:
        rows = sum(len(run.corpus.records.covered(s)) for s in run.corpus.shards())
        run.say(f"dedup: {rows:,} records to compare")
        return
    run.write_plan()
    start = time.perf_counter()
    recipe = run.recipe
    own = Source(
        0,
        recipe.corpus,
        recipe.storage_options,
        recipe.dedup.hashes,
        run.tables,
        run.corpus.shards(),
        shard_limits(run),
        run.sample,
    )

    def run_tasks(name: str, task: Any, items: Iterable[Item], total: int) -> StageReport:
        done = run.loop(name, task, items, total, keep=False)
        if done.failed:
            run.keep(done)
        return done

    found = compare(run.corpus, table, [own, *_others(run)], recipe.dedup, run_tasks)
    report = StageReport("dedup", seconds=time.perf_counter() - start)
    if found is None:
        return
    report.summary = Summary(rows=found["records"], done=found["records"])
    report.summary.extra = Counter(found)
    run.keep(report, quiet=True)
    others = f" and {found['others']:,} of other corpora" if recipe.dedup.against else ""
    run.say(
        f"dedup: {found['records']:,} records{others}, {found['pairs']:,} pairs confirmed "
        f"({found['exact']:,} of them equal files); {found['candidates']:,} pairs of different "
        f"pictures were within distance {recipe.dedup.distance} ({report.seconds:.1f} s)"
    )


def show_pairs(run: Run, each: int) -> Iterator[str]:
    """Writes a page of duplicate pairs, some of each distance, and says how many there are.

    Args:
        run: The run.
        each: How many pairs of a distance are shown.

    Raises:
        RequestError: `dedup` was not run since the tables changed.
    """
    table = pin_dedup(run)["dedup"]
    if not have_pairs(run.corpus, run.tables):
        raise RequestError(
            "there are no pairs of the tables as they are now; "
            f"run: nucleus dedup corpus={run.recipe.corpus}"
        )
    counts = published_counts(run.corpus, table)
    distances = by_distance(Tables(run.corpus, {"dedup": table}), each)
    yield f"{counts['pairs']:,} pairs among {counts['records']:,} records"
    for found in distances:
        name = found.name if found.name == EXACT else f"distance {found.name}"
        yield f"  {name:<12} {found.count:>12,}"
    page = run.path("pairs.html")
    yield write_pairs_page(run.corpus, page, str(run.name), {"dedup": table}, counts, distances)


def _others(run: Run) -> list[Source]:
    return other_sources(run.corpus, run.recipe.dedup, run.tables)


def need_pairs(run: Run) -> None:
    """Checks that all pairs are there which the duplicate walk needs.

    Raises:
        RequestError: `dedup` was not run since the tables changed.
    """
    if run.recipe.select.drop_duplicates and not have_pairs(run.corpus, run.tables):
        raise RequestError(
            "select needs the pairs of the tables as they are now; "
            f"run: nucleus dedup corpus={run.recipe.corpus}{run.chosen()}"
        )


def shard_limits(run: Run) -> dict[int, int] | None:
    """Shard -> how many of its (sampled) records a limited, corpus-wide stage takes.

    None without a limit.
    """
    if run.limit is None:
        return None
    remaining, limits = run.limit, {}
    for number in run.corpus.shards():
        if remaining <= 0:
            break
        records = run.corpus.records.read(number, ["id"])
        count = sample_rows(records, run.sample).num_rows if records is not None else 0
        limits[number] = min(count, remaining)
        remaining -= limits[number]
    return limits


def pin_dedup(run: Run) -> dict[str, str]:
    """Sets the config hash of `dedup`; returns all of them."""
    needed = READS[run.recipe.dedup.hashes]
    inputs = {name: run.tables[name] for name in needed if name in run.tables}
    if len(inputs) < len(needed):
        groups = " and ".join(repr(name.removeprefix("inspect.")) for name in needed)
        raise RequestError(
            f"dedup.hashes={run.recipe.dedup.hashes} needs the signal groups {groups}; add them to "
            f"inspect.signals, which has {', '.join(run.recipe.inspect.signals)}"
        )
    identity = {
        "table": "dedup",
        "version": DEDUP_VERSION,
        "settings": run.recipe.dedup.model_dump(mode="json", exclude=set(HOW)),
        "inputs": inputs,
        "parts": run.corpus.parts_hash({"records": run.tables["records"], **inputs}),
        "others": parts_of(_others(run)),
        "limit": run.limit,
        "sample": run.sample,
    }
    run.tables["dedup"] = config_hash(identity)
    return run.tables

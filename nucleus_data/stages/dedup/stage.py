"""The stage `dedup`: finds and confirms all pairs of duplicates of a corpus, written by shard.

It runs in this process if there are at most `dedup.partition_records` records, and otherwise on
workers, which exchange files. Both give the same table.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nucleus_data.config import deciding
from nucleus_data.corpus import Corpus
from nucleus_data.corpus.published import publish, published
from nucleus_data.corpus.record_counts import record_count
from nucleus_data.corpus.tables import Table
from nucleus_data.corpus.told import command as told
from nucleus_data.errors import RequestError
from nucleus_data.printed import counted
from nucleus_data.runner.compiled import MESSAGE, compiles
from nucleus_data.runner.cwd import stand_somewhere
from nucleus_data.runner.run import Run
from nucleus_data.runner.work import Item, StageReport, Summary
from nucleus_data.stage import CorpusStage
from nucleus_data.stages.dedup.crowds import CROWD
from nucleus_data.stages.dedup.gather import READS, ComparedCorpus, other_corpora, parts_of
from nucleus_data.stages.dedup.partitioned import (
    RunTasks,
    SearchPlan,
    clear,
    search_partitioned,
    write_pairs,
)
from nucleus_data.stages.dedup.settings import DedupSettings

TABLE = "dedup"
# The module with numba kernels that every search uses; few codes are searched without the others.
KERNELS = Path(__file__).with_name("radix_kernels.py")
VERSION = 2
COUNTED = ("records", "others", "pairs", "exact", "candidates", "crowded")


class Dedup(CorpusStage[DedupSettings]):
    """The stage that finds all pairs of duplicates, exactly, and confirms each."""

    name = "dedup"
    help = "Find all pairs of duplicates, and confirm each."
    Settings = DedupSettings

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the tables with the compared columns."""
        return tuple(READS[self.settings.hashes])

    def folders(self, tables: Mapping[str, str]) -> Iterator[str]:
        """Yields the table's folder, once the table has a hash."""
        if TABLE in tables:
            yield f"tables/{TABLE}/{tables[TABLE]}"

    def pin(self, run: Run) -> Mapping[str, str]:
        """Returns the table's config hash. Raises RequestError if the hashes are not measured."""
        inputs = {name: run.tables[name] for name in self.reads if name in run.tables}
        if len(inputs) < len(self.reads):
            groups = " and ".join(repr(name.removeprefix("inspect.")) for name in self.reads)
            raise RequestError(
                f"dedup.hashes={self.settings.hashes} needs the signal groups {groups}; add them "
                f"to inspect.signals, which has {', '.join(run.pins.variants('inspect.'))}"
            )
        hashed = run.identify(
            inputs,
            {"records": run.tables["records"], **inputs},
            table=TABLE,
            version=VERSION,
            settings=deciding(self.settings),
            others=parts_of(self._others(run)),
        )
        return {TABLE: hashed}

    def count(self, run: Run) -> None:
        """Reports the number of records to compare."""
        with run.corpus.store.listing_once():
            rows = record_count(run.corpus.records)
        run.say(f"dedup: {counted(rows, 'record')} to compare")

    def do(self, run: Run) -> None:
        """Finds the pairs, unless the table exists, and reports their number."""
        start = time.perf_counter()

        def run_tasks(phase: str, task: Any, items: Iterable[Item], total: int) -> StageReport:
            done = run.loop(self, task, items, total, phase=phase, keep=False)
            if done.failed:
                run.keep(done)
            return done

        compared = [self._own(run), *self._others(run)]
        if published_counts(run.corpus, run.tables[TABLE]) is None and compiles([KERNELS]):
            run.say(f"dedup: {MESSAGE}")
        counts = compare(run.corpus, run.tables[TABLE], compared, self.settings, run_tasks)
        if counts is None:
            return
        report = StageReport(self.name, seconds=time.perf_counter() - start)
        report.summary = Summary(rows=counts["records"], done=counts["records"])
        report.summary.extra = Counter(counts)
        run.keep(report, quiet=True)
        others = f" and {counts['others']:,} of other corpora" if self.settings.against else ""
        if counts["crowded"]:
            run.say(
                f"dedup: pictures with more than {CROWD:,} near but unequal copies are listed "
                f"({counts['crowded']:,} times) instead of all pairs of them"
            )
        run.say(
            f"dedup: {counted(counts['records'], 'record')}{others}, "
            f"{counted(counts['pairs'], 'pair')} confirmed "
            f"({counts['exact']:,} of them equal files); compared more closely, as their 64-bit "
            f"hashes are within distance {self.settings.distance}: "
            f"{counted(counts['candidates'], 'pair')} "
            f"({report.seconds:.1f} s)"
        )

    def found(self, run: Run, asker: str) -> Mapping[str, str]:
        """Returns the pins of the existing pairs for the current tables.

        Args:
            run: The run.
            asker: The stage that needs the pairs, for the message.

        Raises:
            RequestError: `dedup` was not run since the tables changed.
        """
        pins = self.pin(run)
        if published_counts(run.corpus, pins[TABLE]) is None:
            raise RequestError(
                f"{asker} needs the pairs of the current tables; "
                f"run: {told('dedup', run.corpus.uri, options=run.choice.options())}"
            )
        return pins

    def _own(self, run: Run) -> ComparedCorpus:
        """Returns the run's own corpus, with the records that the run chooses."""
        return ComparedCorpus(
            0,
            run.corpus.uri,
            run.corpus.store.storage_options,
            self.settings.hashes,
            run.tables,
            run.corpus.shards(),
            run.shard_limits(),
            run.choice.sample,
        )

    def _others(self, run: Run) -> list[ComparedCorpus]:
        return other_corpora(run.corpus, self.settings, run.tables)


def compare(
    corpus: Corpus,
    table: str,
    compared: Sequence[ComparedCorpus],
    settings: DedupSettings,
    run_tasks: RunTasks,
) -> dict[str, int] | None:
    """Finds, writes and publishes all pairs, unless they exist.

    Args:
        corpus: The corpus.
        table: Config hash of the table `dedup`.
        compared: The corpus itself, then the other ones.
        settings: What counts as a pair.
        run_tasks: Runs the tasks of a phase (as in `search_partitioned`).

    Returns:
        Counts: `records`, `others` (records of other corpora), `pairs` (rows of the table), `exact`
        (pairs of equal files), `candidates` (pairs of different pictures with near pHashes) and
        `crowded` (members of crowds, by block); None if tasks failed.
    """
    stand_somewhere()  # this process compiles the search, for which it needs a working directory
    target = Table(corpus.store, TABLE, table)
    known = published_counts(corpus, table)
    if known is not None:
        clear(corpus.store, table)  # an earlier run may have been killed before this
        return known
    records = sum(source.records() for source in compared)
    if records <= settings.partition_records:
        counts = _in_memory(target, compared, settings)
    else:
        plan = SearchPlan.made(compared, records, settings, table)
        searched = search_partitioned(plan, run_tasks)
        if searched is None:
            return None
        counts = dict(searched)
    counts = {name: counts.get(name, 0) for name in COUNTED}
    publish(corpus.store, target.folder, counts)
    clear(corpus.store, table)
    return counts


def published_counts(corpus: Corpus, table: str) -> dict[str, int] | None:
    """Reads the counts that `compare` published; None if the table is not complete."""
    content = published(corpus.store, f"tables/{TABLE}/{table}")
    return None if content is None else {name: content.get(name, 0) for name in COUNTED}


def _in_memory(
    target: Table, compared: Sequence[ComparedCorpus], settings: DedupSettings
) -> dict[str, int]:
    from nucleus_data.stages.dedup.pairs import find_pairs  # compiles the search

    rows = [source.read(source.shards) for source in compared]
    pairs, counts = find_pairs(np.concatenate(rows), settings)
    write_pairs(target, pairs)
    return {**counts, "records": len(rows[0]), "others": sum(map(len, rows[1:]))}

"""The stage `compare`: ranks the copies of each picture by comparing them with each other.

A single record does not show which of two copies was made from the other. So the records that
`dedup` found to be copies of each other are decoded, aligned, and compared: what only one of them
has shows which is worse, and why. The default of `select.prefer` begins with the resulting rank.

Only records with a copy are read. Equal files are equal copies, so they are never decoded just to
be compared. If there are more pairs than `dedup.partition_records`, workers do all of the work
(`partitioned`); the table is the same.
"""

import time
from collections.abc import Iterable, Iterator, Mapping

from nucleus_data.config import deciding
from nucleus_data.corpus.published import publish, published
from nucleus_data.corpus.store import Store
from nucleus_data.printed import counted
from nucleus_data.runner.run import Run
from nucleus_data.runner.work import Item, StageReport, Summary, Task
from nucleus_data.stage import CorpusStage
from nucleus_data.stages.compare.members import TABLE, WORK, ComparePlan
from nucleus_data.stages.compare.model import MODEL
from nucleus_data.stages.compare.preference import COLUMNS
from nucleus_data.stages.compare.settings import CompareSettings
from nucleus_data.stages.dedup.stage import TABLE as PAIRS
from nucleus_data.stages.dedup.stage import Dedup, published_counts

VERSION = 2


class Compare(CorpusStage[CompareSettings]):
    """The stage that ranks the copies of each picture.

    Args:
        settings: How many copies are compared.
        dedup: The stage whose pairs define which records are copies.
    """

    name = "compare"
    help = "Compare and rank the copies of each picture."
    Settings = CompareSettings
    optional = True
    faces = ("dedup",)

    def __init__(self, settings: CompareSettings, dedup: Dedup) -> None:
        super().__init__(settings)
        self.dedup = dedup

    def missing(self) -> str | None:
        """Returns a message if the settings turn the stage off; otherwise None."""
        if self.settings.members:
            return None
        return "compare.members is 0, so no copies are compared; set it to 2 or more"

    def folders(self, tables: Mapping[str, str]) -> Iterator[str]:
        """Yields the table's folder and that of its exchanged files, once the table has a hash."""
        if TABLE in tables:
            yield f"tables/{TABLE}/{tables[TABLE]}"
            yield f"tables/{TABLE}/{tables[TABLE]}/{WORK}"

    def pin(self, run: Run) -> Mapping[str, str]:
        """Returns the hashes of the table and of the pairs. Raises RequestError without pairs."""
        return self._identified(run, self.dedup.found(run, self.name))

    def found(self, run: Run, pairs: Mapping[str, str]) -> Mapping[str, str]:
        """Returns the pin of the ranks for these pairs; empty if they were not compared.

        Args:
            run: The run.
            pairs: The pins of the pairs.
        """
        if self.missing():
            return {}
        hashed = self._identified(run, pairs)[TABLE]
        counts = published(run.corpus.store, f"tables/{TABLE}/{hashed}")
        return {TABLE: hashed} if counts is not None else {}

    def _identified(self, run: Run, pairs: Mapping[str, str]) -> Mapping[str, str]:
        """Returns the pins of the pairs and of the ranks that result from them."""
        inputs = {name: run.tables[name] for name in read_tables(run)}
        hashed = run.identify(
            inputs,
            {"records": run.tables["records"], **inputs},
            table=TABLE,
            version=VERSION,
            model=MODEL,
            settings=deciding(self.settings),
            dedup=pairs[PAIRS],
        )
        return {**pairs, TABLE: hashed}

    def count(self, run: Run) -> None:
        """Reports the number of pairs."""
        counts = published_counts(run.corpus, run.tables[PAIRS])
        run.say(f"compare: the copies of {counted(counts['pairs'] if counts else 0, 'pair')}")

    def do(self, run: Run) -> None:
        """Ranks the copies, unless the table exists, and reports the counts."""
        start = time.perf_counter()
        counts = published(run.corpus.store, f"tables/{TABLE}/{run.tables[TABLE]}")
        if counts is None:
            counts = self._compared(run)
        if counts is None:
            return
        clear(run.corpus.store, run.tables[TABLE])  # also files left behind by a killed run
        report = StageReport(self.name, seconds=time.perf_counter() - start)
        report.summary = Summary(rows=counts["records"], done=counts["records"])
        run.keep(report, quiet=True)
        run.say(
            f"compare: {counts['records']:,} records are copies of "
            f"{counted(counts['pictures'], 'picture')};"
            f" {counts['compared']:,} different files were compared, {counts['failed']:,} of them "
            f"could not be decoded ({report.seconds:.1f} s)"
        )

    def _compared(self, run: Run) -> dict[str, int] | None:
        """Compares copies and publishes the table; returns the counts, or None if tasks failed."""
        # Imported here, because commands that only read results need the stage but not this.
        from nucleus_data.stages.compare.copies import rank_copies

        def run_tasks(phase: str, task: Task, items: Iterable[Item], total: int) -> StageReport:
            done = run.loop(self, task, items, total, phase=phase, keep=False)
            if done.failed:
                done.stage = self.name
                run.keep(done)
            return done

        plan, most = self._plan(run), self.dedup.settings.partition_records
        counts = rank_copies(plan, run.corpus, most, run_tasks)
        if counts is not None:
            publish(run.corpus.store, plan.folder, counts)
        return counts

    def _plan(self, run: Run) -> ComparePlan:
        corpus = run.corpus
        return ComparePlan(
            corpus.uri,
            corpus.store.storage_options,
            run.tables,
            corpus.shards(),
            read_tables(run),
            self.settings.members,
            self.settings.max_pixels,
        )


def read_tables(run: Run) -> dict[str, tuple[str, ...]]:
    """Returns table -> columns, of the measured columns that the order by signals reads."""
    read: dict[str, list[str]] = {}
    for column, table in run.pins.catalog().items():
        if column in COLUMNS and table.startswith("inspect."):
            read.setdefault(table, []).append(column)
    return {table: tuple(columns) for table, columns in sorted(read.items())}


def clear(store: Store, table: str) -> None:
    """Removes the files that the passes exchanged."""
    store.remove_folder(f"tables/{TABLE}/{table}/{WORK}")

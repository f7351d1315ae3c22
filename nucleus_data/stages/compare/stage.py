"""The stage `compare`: ranks the copies of each picture by looking at them together.

One record alone can't tell which of two copies was made from the other. So the records that `dedup`
found to be copies of each other are decoded, laid over each other, and compared: what each has that
the other has not says which is worse, and why. `select.prefer` begins with the rank. Only records
with a copy are read; equal files are equal copies and never decoded. Of more pairs than
`dedup.partition_records`, workers do all of it (`partitioned`); the table is the same.
"""

import time
from collections.abc import Iterable, Iterator, Mapping

from nucleus_data.config import deciding
from nucleus_data.corpus.marked import remove_folder
from nucleus_data.corpus.published import publish, published
from nucleus_data.corpus.store import Store
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
    """Ranks the copies of each picture that `dedup` found.

    Args:
        settings: How many are compared.
        dedup: The stage whose pairs say what a copy is.
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
        """Whether any copies are to be compared."""
        if self.settings.members:
            return None
        return "compare.members is 0: no copies are compared; give 2 or more"

    def folders(self, tables: Mapping[str, str]) -> Iterator[str]:
        """The table's folder and that of its exchanged files, once it has a hash."""
        if TABLE in tables:
            yield f"tables/{TABLE}/{tables[TABLE]}"
            yield f"tables/{TABLE}/{tables[TABLE]}/{WORK}"

    def pin(self, run: Run) -> Mapping[str, str]:
        """The table's hash, and that of the pairs. Raises RequestError without these pairs."""
        return self._identified(run, self.dedup.found(run, self.name))

    def found(self, run: Run, pairs: Mapping[str, str]) -> Mapping[str, str]:
        """The pin of the ranks of these pairs; nothing where they were not compared.

        Args:
            run: The run.
            pairs: The pins of the pairs.
        """
        if self.missing():
            return {}
        hashed = self._identified(run, pairs)[TABLE]
        there = published(run.corpus.store, f"tables/{TABLE}/{hashed}")
        return {TABLE: hashed} if there is not None else {}

    def _identified(self, run: Run, pairs: Mapping[str, str]) -> Mapping[str, str]:
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
        """Says how many pairs there are."""
        found = published_counts(run.corpus, run.tables[PAIRS])
        run.say(f"compare: the copies of {found['pairs'] if found else 0:,} pairs")

    def do(self, run: Run) -> None:
        """Ranks the copies, unless that is done, and says how many there are."""
        start = time.perf_counter()
        counts = published(run.corpus.store, f"tables/{TABLE}/{run.tables[TABLE]}")
        if counts is None:
            counts = self._compared(run)
        if counts is None:
            return
        clear(run.corpus.store, run.tables[TABLE])  # a run may have been killed before it did
        report = StageReport(self.name, seconds=time.perf_counter() - start)
        report.summary = Summary(rows=counts["records"], done=counts["records"])
        run.keep(report, quiet=True)
        run.say(
            f"compare: {counts['records']:,} records are copies of {counts['pictures']:,} pictures;"
            f" {counts['compared']:,} different files were compared, {counts['failed']:,} of them "
            f"can't be decoded ({report.seconds:.1f} s)"
        )

    def _compared(self, run: Run) -> dict[str, int] | None:
        """Compares, and commits the table; returns the counts, None if tasks failed."""
        # Here, since commands that only look need the stage and none of this.
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
    """Table -> its columns that the order by signals reads, as far as they are measured."""
    found: dict[str, list[str]] = {}
    for column, table in run.pins.catalog().items():
        if column in COLUMNS and table.startswith("inspect."):
            found.setdefault(table, []).append(column)
    return {table: tuple(columns) for table, columns in sorted(found.items())}


def clear(store: Store, table: str) -> None:
    """Removes what the passes left for each other."""
    remove_folder(store, f"tables/{TABLE}/{table}/{WORK}")

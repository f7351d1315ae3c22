"""The stage `select`: applies rules, then walks the duplicates, so that every record has one state.

There are three passes, each of tasks about a group of image shards. First, the rules are evaluated
for the groups that have records in a pair (`walking`). Then the walk decides which of several
duplicates stays. Last, the ledger is written (`ledger`). Its sums are checked before the selection
is published.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from nucleus_data.config import deciding
from nucleus_data.corpus.published import publish
from nucleus_data.corpus.told import command as told
from nucleus_data.errors import RequestError
from nucleus_data.hashing import config_hash
from nucleus_data.runner.run import ALL, Run
from nucleus_data.runner.work import Item, StageReport, Summary, Task
from nucleus_data.stage import CorpusStage
from nucleus_data.stages.compare.members import TABLE as COPIES
from nucleus_data.stages.compare.stage import Compare
from nucleus_data.stages.dedup.stage import TABLE as PAIRS
from nucleus_data.stages.dedup.stage import Dedup, published_counts
from nucleus_data.stages.select.check import check_decisions, order_of, upstream_columns
from nucleus_data.stages.select.curriculum import COLUMN
from nucleus_data.stages.select.duplicates import clear, drop_duplicates, has_pairs
from nucleus_data.stages.select.ledger import LedgerTask
from nucleus_data.stages.select.placeholders import fewest
from nucleus_data.stages.select.plan import ROOT, TABLE, WALK, Decisions, SelectionPlan
from nucleus_data.stages.select.settings import PlaceholderSettings, SelectSettings
from nucleus_data.stages.select.sums import (
    check_sums,
    filling_of,
    published_selection,
    said_sums,
    states_of,
)
from nucleus_data.stages.select.tiers import is_score_order

__all__ = ["TABLE", "Select", "check_sums", "filling_of", "published_selection"]

VERSION = 2
NOT_COMPARED = (
    "select: the copies were not compared (run nucleus compare to do so); which one is kept "
    "depends only on the signals of each"
)


class Select(CorpusStage[SelectSettings]):
    """The stage that decides which records are kept.

    Args:
        settings: Rules, order of preference, tiers.
        dedup: The stage whose pairs are walked.
        compare: The stage that ranks copies. Without its ranks, the preference between copies
            depends only on the signals of each.
    """

    name = "select"
    help = "Apply rules, and keep one copy of each duplicate cluster."
    Settings = SelectSettings
    faces = ("dedup", "compare")

    def __init__(self, settings: SelectSettings, dedup: Dedup, compare: Compare) -> None:
        super().__init__(settings)
        self.dedup = dedup
        self.compare = compare
        self._checked: tuple[str, Decisions] | None = None

    def folders(self, tables: Mapping[str, str]) -> Iterator[str]:
        """Yields the table's folder and that of its exchanged files, once the table has a hash."""
        if TABLE in tables:
            folder = f"tables/{TABLE}/{tables[TABLE]}"
            yield folder
            yield f"{folder}/{WALK}"

    def decisions(self, run: Run, *, compared: bool = False) -> Decisions:
        """Returns the checked rules and what they need.

        Args:
            run: The run.
            compared: Whether the copies were compared.

        Raises:
            RequestError: A rule, or another setting of the selection, is wrong.
        """
        # Cached: one command calls this several times (to identify a selection, to look for it, to
        # make it), and the types of upstream columns are read from every part of `records`.
        parts = config_hash([run.corpus.uri, run.corpus.records.part_names()])
        if self._checked is None or self._checked[0] != parts:
            self._checked = parts, self._check(run)
        decisions = self._checked[1]
        # They were checked with the rank of the copies first; without ranks, that item is left out.
        ranks = len(decisions.prefer) - len(order_of(self.settings, compared, decisions.tiers))
        return decisions._replace(prefer=decisions.prefer[ranks:])

    def _check(self, run: Run) -> Decisions:
        """Checks the settings, and finds the tables that a record needs before it is decided."""
        upstream = upstream_columns(run.corpus)
        checked = check_decisions(self.settings, run.pins, upstream, compared=True)
        rules, prefer = checked.rules, checked.prefer
        required = {"inspect.file", *(t for r in rules for t in r.tables if t != "records")}
        if self.settings.drop_duplicates:
            # Scores are not waited for: most copies are dropped before they would have one.
            waited = [order for order in prefer if not is_score_order(order.text)]
            required |= {*self.dedup.reads, *(c.table for order in waited for c in order.columns)}
        # Ranks are not waited for either: a record without a copy has none.
        required_tables = sorted(required - {COPIES})
        return Decisions(rules, required_tables, prefer, checked.tiers, checked.curriculum)

    def pin(self, run: Run) -> Mapping[str, str]:
        """Returns the hashes of the selection and of the pairs.

        Raises:
            RequestError: A rule is wrong, or `dedup` was not run since its inputs changed.
        """
        self.decisions(run)  # reports a wrong rule before any other error
        pairs = self.dedup.found(run, self.name) if self.settings.drop_duplicates else {}
        return self._identified(run, pairs)

    def named(self, run: Run) -> Mapping[str, str]:
        """Returns the hashes of the selection and of the pairs, whether these exist or not."""
        pairs = self.dedup.pin(run) if self.settings.drop_duplicates else {}
        return self._identified(run, pairs)

    def found(self, run: Run) -> Mapping[str, str]:
        """Returns the pins of the existing selection for the current tables and rules.

        A selection of all records is preferred to one of only the records that the run chooses.

        Raises:
            RequestError: `select` was not run since the tables or the rules changed.
        """
        for choice in dict.fromkeys([ALL, run.choice]):
            chosen = run.choosing(choice)
            pairs = self.dedup.pin(chosen) if self.settings.drop_duplicates else {}
            pins = self._identified(chosen, pairs)
            if self.published(run, pins):
                return pins
        raise RequestError(
            "there is no selection for the current tables and rules; "
            f"run: {told('select', run.corpus.uri)}"
        )

    def published(self, run: Run, pins: Mapping[str, str]) -> dict[str, Any] | None:
        """Returns the sums of a selection; None if it is not complete."""
        return published_selection(run.corpus.store, pins[TABLE])

    def _identified(self, run: Run, pairs: Mapping[str, str]) -> Mapping[str, str]:
        """Returns the pins of the selection that results from the run's tables and these pairs."""
        settings = self.settings
        ranks = self.compare.found(run, pairs) if settings.drop_duplicates else {}
        pairs = {**pairs, **ranks}
        decisions = self.decisions(run, compared=bool(ranks))
        if COPIES in decisions.reads and not ranks:
            raise RequestError(
                "select.prefer reads copy_rank, but the current copies have not been compared; "
                f"run: nucleus compare corpus={run.corpus.uri}{run.choice.options()}"
            )
        inputs = {name: {**run.tables, **ranks}[name] for name in decisions.reads}
        hashed = run.identify(
            inputs,
            {"records": run.tables["records"], **inputs},
            table=TABLE,
            version=VERSION,
            rules=[[n, deciding(r)] for n, r in settings.rules.items()],
            tiers=deciding(settings.tiers) if decisions.tiers else None,
            dedup=pairs[PAIRS] if settings.drop_duplicates else None,
            prefer=list(order_of(settings, bool(ranks), decisions.tiers)),
            # Left out if unset, so that selections without buckets keep the hashes that they had
            # before curriculum buckets were added.
            **({COLUMN: decisions.curriculum.identity()} if decisions.curriculum else {}),
            **({"placeholders": deciding(asked)} if (asked := self._asked(run, pairs)) else {}),
        )
        return {**pairs, TABLE: hashed}

    def _asked(self, run: Run, pairs: Mapping[str, str]) -> PlaceholderSettings | None:
        """Returns the settings of placeholders; None if too few files are equal to make one."""
        least = fewest(self.settings.placeholders)
        if not self.settings.drop_duplicates or least is None:
            return None
        counts = published_counts(run.corpus, pairs[PAIRS])
        # n equal files are joined by at least n - 1 pairs.
        enough = counts is not None and counts["exact"] >= least - 1
        return self.settings.placeholders if enough else None

    def count(self, run: Run) -> None:
        """Reports the number of rules and of shards."""
        rules, shards = self.settings.rules, len(run.corpus.shards())
        run.say(f"select: {len(rules)} rules, {shards} shards to decide about")

    def do(self, run: Run) -> None:
        """Makes and publishes the selection, unless it exists, and reports its sums."""
        before = self.published(run, run.tables)
        if before:
            report = StageReport(self.name)
            report.summary = Summary(rows=before["records"], already=before["records"])
            run.keep(report, quiet=True)
            _say(run, before, "already decided")
            return
        report = self.decide(run, run)
        if report.failed:
            return
        content = {
            "records": report.summary.rows,
            "states": states_of(report.summary),
            "counts": dict(report.summary.extra),
        }
        folder = f"tables/{TABLE}/{run.tables[TABLE]}"
        publish(run.corpus.store, folder, content, indent=1)
        _say(run, content, f"{report.seconds:.1f} s")

    def decide(
        self,
        run: Run,
        pinned: Run,
        root: str = ROOT,
        ledger: Callable[[SelectionPlan], Task] = LedgerTask,
    ) -> StageReport:
        """Decides about all records, by groups of shards, checks the sums, and records the work.

        Args:
            run: The run that does the work.
            pinned: The run whose pins are decided by: `run` itself, except in a what-if.
            root: The folder that results are written under.
            ledger: Makes the task that decides about a group of shards and writes the result.

        Returns:
            The counts. If it has failed shards, the decisions are not complete.

        Raises:
            AssertionError: The states do not add up to the records.
        """
        start = time.perf_counter()
        corpus, tables = run.corpus, pinned.tables
        drops = self.settings.drop_duplicates
        ranks = self.compare.found(pinned, {PAIRS: tables[PAIRS]}) if drops else {}
        decisions = self.decisions(pinned, compared=bool(ranks))
        plan = SelectionPlan(
            corpus.uri,
            corpus.store.storage_options,
            decisions,
            tables,
            corpus.shards(),
            [n for n in decisions.reads if corpus.at(n, tables[n]).failed.part_names()],
            pinned.choice.sample,
            pinned.shard_limits(),
            root,
            self._asked(run, tables) if drops else None,
            self.dedup.settings,
        )
        report, dropped = StageReport(self.name), 0

        def run_tasks(phase: str, task: Task, items: Iterable[Item], total: int) -> StageReport:
            nonlocal report
            report = run.loop(self, task, items, total, phase=phase, keep=False)
            return report

        if drops and has_pairs(plan, corpus):
            if not ranks and not self.compare.missing():
                run.say(NOT_COMPARED)
            most = self.dedup.settings.partition_records
            dropped = drop_duplicates(plan, corpus, most, run_tasks) or 0
        if not report.failed:
            groups = plan.groups()
            run_tasks("", ledger(plan), plan.items(groups), len(groups))
        # The counts of a what-if must not be taken for those of a selection.
        report.stage = self.name if pinned is run else run.command
        report.seconds = time.perf_counter() - start
        report.shards = len(plan.shards) if not report.failed else report.shards
        run.keep(report, quiet=True)
        if not report.failed:
            clear(plan, corpus)
            check_sums(report.summary.rows, states_of(report.summary), dropped)
        return report


def _say(run: Run, content: Mapping[str, Any], took: str) -> None:
    for line in said_sums(content, took):
        run.say(line)

"""The stage `select`: rules first, then the duplicate walk; every record ends in one state.

First the rules are asked about the records in a pair and those beside them (`walking`), then it is
known who of the duplicates stays, then the ledger is written (`ledger`), all of it by tasks about
some image shards each. The sums are checked before the selection is published.
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
    "select: the copies were not compared (nucleus compare does); which of them stays is decided "
    "by the signals of each alone"
)


class Select(CorpusStage[SelectSettings]):
    """Decides about every record.

    Args:
        settings: Rules, order of preference, tiers.
        dedup: The stage whose pairs are walked.
        compare: The stage that ranks the copies; without its ranks, one record's signals decide.
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
        """The table's folder and that of its exchanged files, once it has a hash."""
        if TABLE in tables:
            folder = f"tables/{TABLE}/{tables[TABLE]}"
            yield folder
            yield f"{folder}/{WALK}"

    def decisions(self, run: Run, *, compared: bool = False) -> Decisions:
        """The checked rules and what they need.

        Args:
            run: The run.
            compared: Whether the copies were compared.

        Raises:
            RequestError: A rule is wrong.
        """
        # Asked several times by one command (to name a selection, to look for it, to make it), and
        # the types of upstream columns are read from every part of `records`.
        parts = config_hash([run.corpus.uri, run.corpus.records.part_names()])
        if self._checked is None or self._checked[0] != parts:
            self._checked = parts, self._check(run)
        found = self._checked[1]
        ranks = len(found.prefer) - len(order_of(self.settings, compared, found.tiers))
        return found._replace(prefer=found.prefer[ranks:])

    def _check(self, run: Run) -> Decisions:
        upstream = upstream_columns(run.corpus)
        checked = check_decisions(self.settings, run.pins, upstream, compared=True)
        rules, prefer = checked.rules, checked.prefer
        required = {"inspect.file", *(t for r in rules for t in r.tables if t != "records")}
        if self.settings.drop_duplicates:
            # Of a score, what there is counts: most copies are dropped before they would have one.
            waited = [order for order in prefer if not is_score_order(order.text)]
            required |= {*self.dedup.reads, *(c.table for order in waited for c in order.columns)}
        # A record without a copy has no rank, and waits for none.
        required_tables = sorted(required - {COPIES})
        return Decisions(rules, required_tables, prefer, checked.tiers, checked.curriculum)

    def pin(self, run: Run) -> Mapping[str, str]:
        """The selection's hash, and that of the pairs.

        Raises:
            RequestError: A rule is wrong, or the pairs are not those of the tables as they are now.
        """
        self.decisions(run)  # a wrong rule is said before all else
        pairs = self.dedup.found(run, self.name) if self.settings.drop_duplicates else {}
        return self._identified(run, pairs)

    def named(self, run: Run) -> Mapping[str, str]:
        """The selection's hash and that of the pairs, whether they are there or not."""
        pairs = self.dedup.pin(run) if self.settings.drop_duplicates else {}
        return self._identified(run, pairs)

    def found(self, run: Run) -> Mapping[str, str]:
        """The pins of the selection of the tables and rules as they are now.

        That of all records is taken where there is one, else that of the records that are chosen.

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
            "there is no selection for the tables and rules as they are now; "
            f"run: {told('select', run.corpus.uri)}"
        )

    def published(self, run: Run, pins: Mapping[str, str]) -> dict[str, Any] | None:
        """The sums of a selection; None if it is not complete."""
        return published_selection(run.corpus.store, pins[TABLE])

    def _identified(self, run: Run, pairs: Mapping[str, str]) -> Mapping[str, str]:
        """The pins of the selection that follows from these tables, rules and pairs."""
        settings = self.settings
        ranks = self.compare.found(run, pairs) if settings.drop_duplicates else {}
        pairs = {**pairs, **ranks}
        decisions = self.decisions(run, compared=bool(ranks))
        if COPIES in decisions.reads and not ranks:
            raise RequestError(
                "select.prefer reads copy_rank, and the copies are not compared as they are now; "
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
            # Selections without buckets keep the hashes that they had before there were any.
            **({COLUMN: decisions.curriculum.identity()} if decisions.curriculum else {}),
            **({"placeholders": deciding(asked)} if (asked := self._asked(run, pairs)) else {}),
        )
        return {**pairs, TABLE: hashed}

    def _asked(self, run: Run, pairs: Mapping[str, str]) -> PlaceholderSettings | None:
        """When a file is a placeholder; None where there are too few equal files for one."""
        least = fewest(self.settings.placeholders)
        if not self.settings.drop_duplicates or least is None:
            return None
        counts = published_counts(run.corpus, pairs[PAIRS])
        # n equal files are joined by n - 1 pairs at least.
        enough = counts is not None and counts["exact"] >= least - 1
        return self.settings.placeholders if enough else None

    def count(self, run: Run) -> None:
        """Says how many rules there are, and how many shards."""
        rules, shards = self.settings.rules, len(run.corpus.shards())
        run.say(f"select: {len(rules)} rules, {shards} shards to decide about")

    def do(self, run: Run) -> None:
        """Decides, unless that is done, and says the sums."""
        before = self.published(run, run.tables)
        if before:
            report = StageReport(self.name)
            report.summary = Summary(rows=before["records"], already=before["records"])
            run.keep(report, quiet=True)
            _say(run, before, "decided before")
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
        """Decides about all records, some shards at a time, checks the sums, and notes the work.

        Args:
            run: Does the work.
            pinned: Whose pins the decisions are of; `run` itself, but for a what-if.
            root: The folder that what is written goes under.
            ledger: What is done with the decisions about a group of shards.

        Returns:
            The counts; if shards failed, the decisions are not complete.
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
        # A what-if's counts are not to be taken for those of a selection.
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

"""A run: one command's work on a corpus.

It is constructed from a corpus, pins, a choice of records, resources and a loop, and does not know
the configuration. It collects the stages' pins, hands their work to the loop, and stores counts,
failures and times under `runs/<run>/` (`corpus.runs`).
"""

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.runs import FAILURES, RunFolder, newest_failed_shards, run_names
from nucleus_data.corpus.told import command as told
from nucleus_data.hashing import config_hash
from nucleus_data.runner.choice import ALL, Choice, limited_items, shard_limits, size_of
from nucleus_data.runner.pins import Pins
from nucleus_data.runner.rows import StageJob
from nucleus_data.runner.words import describe, failed_lines, failures_of, stage_line
from nucleus_data.runner.work import (
    Item,
    ModelTask,
    Resources,
    Size,
    StageReport,
    Task,
    TellingTask,
)
from nucleus_data.stage import Condition, RowStage, Stage

__all__ = ["ALL", "Choice", "Conditions", "Loop", "MakeLoop", "Run", "Say"]

Say = Callable[[str], None]


class Loop(Protocol):
    """Processes the items of one stage: with Ray (`loop`), in a local worker, or inline."""

    def run(self, items: Iterable[Item], total: int | None = None) -> StageReport:
        """Processes all items, and returns a report."""


# From a stage and the pins so far, makes the checked conditions of its tables.
Conditions = Callable[[RowStage[Any], Pins], Mapping[str, Condition]]
# From a name for people, the work, its workers' resources and its size, makes a loop.
MakeLoop = Callable[[str, StageJob | Task, Resources, Size], Loop]


class Run:
    """One command's run over a corpus.

    Args:
        corpus: The corpus.
        pins: The config hashes that follow from the settings.
        command: Name for people, for example `inspect`.
        resources: Resources of the workers of each stage, by the stage's name.
        loop: Makes the loop that processes a stage's items.
        connect: Connects to Ray, for code that uses it without a loop.
        choice: Which records to work on.
        dry_run: Whether to only count, and write nothing.
        conditions: Makes the checked conditions of a stage's tables, given the current pins.
        retried: Names of the stages whose failures `nucleus retry` does again; None for all.
        plan: Further content of `plan.json`: the resolved configuration, the software's version.
        say: Receives lines for people.

    Attributes:
        corpus, pins, command, choice, dry_run, connect, say: As given; stages add to `pins`.
    """

    def __init__(
        self,
        corpus: Corpus,
        pins: Pins,
        *,
        command: str,
        resources: Mapping[str, Resources],
        loop: MakeLoop,
        connect: Callable[[], None] = lambda: None,
        choice: Choice = ALL,
        dry_run: bool = False,
        conditions: Conditions = lambda stage, pins: {},
        retried: Collection[str] | None = None,
        plan: Mapping[str, Any] | None = None,
        say: Say = print,
    ) -> None:
        self.corpus = corpus
        self.pins = pins
        self.command = command
        self.choice = choice
        self.dry_run = dry_run
        self.say = say
        self._resources = resources
        self._make_loop = loop
        self.connect = connect
        self._conditions = conditions
        self._retried = retried
        self._plan = {"limit": choice.limit, "sample": choice.sample, **(plan or {})}
        self._folder = None if dry_run else RunFolder.claim(corpus.store, command)
        self._write_plan()

    @property
    def name(self) -> str:
        """The name of the run's folder below `runs/`; empty for a dry run."""
        return self._folder.name if self._folder else ""

    @property
    def failed_shards(self) -> int:
        """Number of failed shards, of all stages so far."""
        return len(self._folder.failures) if self._folder else 0

    @property
    def folder(self) -> RunFolder:
        """The run's own files; a dry run has none."""
        assert self._folder is not None, "a dry run has no folder"
        return self._folder

    @property
    def tables(self) -> Mapping[str, str]:
        """Config hash of every pinned table."""
        return self.pins.tables

    def newest_failed_shards(self, stage: str) -> list[int]:
        """Returns the shards that failed when a stage was last run before this run, ascending."""
        if self._folder is not None:
            return self._folder.newest_failed_shards(stage)
        store = self.corpus.store
        return newest_failed_shards(store, stage, reversed(run_names(store)))

    def path(self, name: str) -> str:
        """Returns the path, below the corpus, of a file of this run."""
        return self.folder.path(name)

    def choosing(self, choice: Choice) -> "Run":
        """Returns the same run for other records; counts and failures are kept together."""
        other = copy.copy(self)
        other.choice = choice
        return other

    def looping(self, loop: MakeLoop) -> "Run":
        """Returns the same run with another loop."""
        other = copy.copy(self)
        other._make_loop = loop
        return other

    def trying(self, pins: Pins) -> "Run":
        """Returns a dry run with other pins on the same corpus and records."""
        other = copy.copy(self)
        other.pins, other.dry_run, other._folder = pins, True, None
        return other

    def pin(self, found: Mapping[str, str]) -> None:
        """Adds the result of a stage's `pin`, and writes it to the plan."""
        if any(self._pinned(name) != hashed for name, hashed in found.items()):
            self.pins = self.pins.adding(found)
            self._write_plan()

    def pin_again(self, newer: Pins) -> None:
        """Replaces the pins of row stages' tables; those of corpus-wide stages stay."""
        of_set = {name: hashed for name, hashed in self.pins.set_hashes().items() if hashed}
        self.pins = replace(newer, tables={**self.tables, **newer.tables}).adding(of_set)
        self._write_plan()

    def _pinned(self, name: str) -> str | None:
        return {**self.tables, **self.pins.set_hashes()}.get(name)

    def identify(self, inputs: Mapping[str, str], parts: Mapping[str, str], **deciding: Any) -> str:
        """Returns the config hash of a corpus-wide result, which depends on its inputs' parts.

        Args:
            inputs: Config hashes of the tables whose values are used.
            parts: Config hashes of the tables whose current parts are hashed; includes `records` if
                rows are used that no input has.
            deciding: Other hashed content: the stage's version and settings.
        """
        identity = {
            **deciding,
            "inputs": dict(inputs),
            "parts": self.corpus.parts_hash(parts),
            "limit": self.choice.limit,
            "sample": self.choice.sample,
        }
        return config_hash(identity)

    def sweep(self, stage: Stage[Any]) -> None:
        """Removes partial files that killed processes of this machine left in a stage's folders."""
        pinned = {**self.tables, **self.pins.set_hashes()}
        for folder in stage.folders({name: hashed for name, hashed in pinned.items() if hashed}):
            self.corpus.store.sweep(folder)

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The stages that have workers, in the order of the line."""
        return tuple(self._resources)

    def resources(self, stage: str) -> Resources:
        """Returns the resources of a stage's workers."""
        return self._resources[stage]

    def job(self, stage: RowStage[Any], *, retry: bool = False) -> StageJob:
        """Makes the job of a row stage, for its workers."""
        resources = self.resources(stage.name)
        return StageJob(
            uri=self.corpus.uri,
            storage_options=self.corpus.store.storage_options,
            stage=stage,
            tables=self.tables,
            conditions=self._conditions(stage, self.pins),
            sample=self.choice.sample,
            retry=retry,
            row_timeout_s=resources.row_timeout_s,
            row_memory_bytes=int(resources.row_memory_gb * (1 << 30)),
            cpus=max(1, int(resources.num_cpus)),
        )

    def items(self, job: StageJob, shards: Iterable[int]) -> Iterator[Item]:
        """Yields the shards to process; with a limit, only as many as contain that many records."""
        return limited_items(self.corpus, self.choice, job, shards)

    def shard_limits(self) -> dict[int, int] | None:
        """Returns shard -> how many of its (sampled) records a corpus-wide stage takes.

        None without a limit.
        """
        return shard_limits(self.corpus, self.choice)

    def loop(
        self,
        stage: Stage[Any],
        work: StageJob | Task,
        items: Iterable[Item],
        total: int,
        *,
        phase: str = "",
        keep: bool = True,
        rows: int | None = None,
    ) -> StageReport:
        """Processes items, and, if `keep`, prints and stores the report.

        Args:
            stage: The stage.
            work: A row stage's job, or a task.
            items: The items.
            total: Number of items.
            phase: Name of a part of the stage, for people.
            keep: Whether this is all of the stage's work, so that its report is the stage's.
            rows: Maximum number of records involved; None for those of the corpus.
        """
        name = f"{stage.name} {phase}".strip()
        size = size_of(self.corpus, self.choice, total, rows)
        # Upkeep has no section in `resources`; its tasks get the defaults.
        resources = self._resources.get(stage.name, Resources())
        if not isinstance(work, StageJob | ModelTask):  # counts and copies need no GPU
            resources = resources.model_copy(update={"num_gpus": 0, "actors": 0})
        report = self._make_loop(name, work, resources, size).run(items, total)
        if report.deaths:
            self.sweep(stage)
        if isinstance(stage, RowStage):
            report.told = list(stage.told(report.summary.extra))
        elif isinstance(work, TellingTask):
            report.told = work.told(report.summary, report.seconds)
        if keep:
            self.keep(report)
        return report

    def keep(self, report: StageReport, *, quiet: bool = False) -> None:
        """Stores a stage's counts and failures in the run's folder, and prints them."""
        self.folder.add_stage(stage_line(report))
        if report.failed:
            self.folder.add_failures(failures_of(report))
        if not quiet:
            for line in describe(report).split("\n"):
                self.say(line)
            if report.summary.retryable:
                again = told(f"retry {report.stage}", self.corpus.uri)
                count = report.summary.retryable
                self.say(f"  {count:,} failures may be temporary; to retry: {again}")
        where = self.corpus.store.url(self.path(FAILURES)) if report.failed else ""
        helps = self._retried is None or report.stage in self._retried
        for line in failed_lines(report, where, told("retry", self.corpus.uri) if helps else None):
            self.say(line)

    def had_nothing(self, stage: str) -> None:
        """Prints, and writes to the plan, that a stage had nothing to retry."""
        self._plan["nothing_to_retry"] = [*self._plan.get("nothing_to_retry", ()), stage]
        self._write_plan()
        self.say(f"{stage}: nothing to retry")

    def _write_plan(self) -> None:
        """Writes `plan.json`: the configuration and the config hashes known so far."""
        if self._folder is None:
            return
        self._folder.write_plan(
            {
                "run": self.name,
                "command": self.command,
                "tables": dict(self.tables),
                **self.pins.set_hashes(),
                **self._plan,
            }
        )

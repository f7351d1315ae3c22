"""`nucleus retry caption`: generates captions again that a check found or a condition matches.

The variant gets a newer table (`corpus.renewed`), into which all other captions are copied. Tables
that depend on it (further variants, embeddings, similarities) get newer versions as well, with the
rows of unchanged captions copied.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from nucleus_data.config import nearest
from nucleus_data.corpus.at_once import at_once
from nucleus_data.corpus.renewed import draft_of, hash_of, list_name, note_copies, publish
from nucleus_data.corpus.tables import Table
from nucleus_data.errors import CorpusError, RequestError
from nucleus_data.line.before import Stages
from nucleus_data.runner.carry import CarryTask, moves_between
from nucleus_data.runner.pins import Pins
from nucleus_data.runner.run import Run
from nucleus_data.runner.work import Item, StageReport, Task
from nucleus_data.stage import RowStage
from nucleus_data.stages.caption.retried import (
    DIGEST,
    NO_ANSWER,
    NO_ROW,
    OWN,
    ROWS,
    FindTask,
    Wanted,
)
from nucleus_data.stages.caption.settings import in_order
from nucleus_data.stages.caption.stage import Caption
from nucleus_data.stages.select.check import upstream_columns
from nucleus_data.stages.select.condition import check_condition

PREFIX = "caption."
# Reasons of rejected captions that do not come from a check in `stages.caption.checks`.
FINAL = ("caption_empty", "caption_not_text")


@dataclass(frozen=True)
class Request:
    """Which captions to generate again.

    Attributes:
        checks: Names of checks whose rejected captions to retry, and those that they flagged;
            empty for all rejected ones, or for none if there is a condition.
        where: SQL condition over a record's signals and its caption; None for none.
        variants: Names of caption variants; empty for all.
    """

    checks: Sequence[str] = ()
    where: str | None = None
    variants: Sequence[str] = ()

    def options(self, table: str) -> list[str]:
        """Returns the options of `nucleus retry caption` for the same request of one table."""
        where = [] if self.where is None else ["--where", self.where]
        checks = [part for name in self.checks for part in ("--check", name)]
        return [*where, *checks, "--variant", table.removeprefix(PREFIX)]


def check_request(stage: Caption, request: Request) -> None:
    """Refuses a request with an unknown check or variant, or a condition without a variant.

    Raises:
        RequestError: Lists what is allowed.
    """
    known = sorted({*stage.repeated, *FINAL})
    for name in request.checks:
        if name not in known:
            raise RequestError(
                f"--check {name!r}: no such check.{nearest(name, known)} Available: "
                f"{', '.join(known)}"
            )
    variants = list(stage.settings.variants)
    for name in request.variants:
        if name not in variants:
            raise RequestError(
                f"--variant {name!r}: no such variant.{nearest(name, variants)} Available: "
                f"{', '.join(variants)}"
            )
    if request.where is not None and not request.variants:
        raise RequestError(
            f"--where {request.where!r} requires --variant; available: {', '.join(variants)}"
        )


def ask_again(run: Run, stages: Stages, stage: Caption, request: Request) -> bool:
    """Generates captions again; their attempts are numbered after the earlier ones.

    Args:
        run: The run, with the selection pinned.
        stages: The recipe's stages, by name.
        stage: The caption stage.
        request: Which captions to generate again.

    Returns:
        Whether there were any.

    Raises:
        RequestError: The request is wrong.
        CorpusError: Rows could not be copied; no caption was generated.
    """
    check_request(stage, request)
    variants = [
        name
        for name in in_order(stage.settings.variants)
        if not request.variants or name in request.variants
        if _Renewal(run, stages, stage, PREFIX + name, request).make()
    ]
    if not variants or run.dry_run:
        return bool(variants)
    job = replace(run.job(stage), only_again=True)
    lists = [list_name(PREFIX + name) for name in variants]
    tables = [Table(run.corpus.store, name, run.tables[name]) for name in lists]
    shards = sorted({shard for table in tables for shard in table.shards()})
    run.loop(stage, job, run.items(job, shards), len(shards))
    return True


@dataclass(frozen=True)
class _Renewal:
    """Makes the newer table of one variant.

    Attributes:
        run: The run, with the selection pinned.
        stages: The recipe's stages, by name.
        stage: The caption stage.
        table: The variant's table.
        request: Which captions to generate again.
    """

    run: Run
    stages: Stages
    stage: Caption
    table: str
    request: Request

    def make(self) -> bool:
        """Finds the captions, and makes the newer table unless the run is a dry run.

        Returns:
            Whether there are captions to generate again, and a further round is allowed.
        """
        try:
            counts = self._find()
            if not self._allowed(counts):
                return False
            if not self.run.dry_run:
                self._make_table(counts[DIGEST])
            return True
        finally:
            if not self.run.dry_run:
                self._remove_draft()

    def _find(self) -> Mapping[str, int]:
        """Has workers find the captions, and write the list's draft; returns their counts."""
        run, corpus = self.run, self.run.corpus
        task = FindTask(
            corpus.uri,
            corpus.store.storage_options,
            run.tables,
            self.table,
            run.choice.sample,
            self._wanted(),
            None if run.dry_run else run.path(""),
        )
        shards = _shards([Table(corpus.store, self.table, run.tables[self.table])])
        return self._run_on(shards, task, "finds", "read").summary.extra

    def _wanted(self) -> Wanted:
        """Returns the request in the form that workers need. Raises RequestError."""
        run, request = self.run, self.request
        attempts = self.stage.settings.attempts
        if request.where is None:
            reasons = request.checks or (*self.stage.repeated,)
            return Wanted(reasons, None, attempts, request.checks)
        # The condition may read the caption's own columns, unless a signal has the same name.
        own = {field.name: self.table for field in OWN if field.name not in run.pins.catalog()}
        condition = check_condition(
            request.where,
            "--where",
            {**run.pins.catalog(), **own},
            {**run.pins.signals(), **{(self.table, field.name): field.type for field in OWN}},
            upstream_columns(run.corpus),
        )
        return Wanted(request.checks, condition, attempts, request.checks)

    def _awaited(self) -> str:
        """Returns the tables that the condition reads, and the commands that write them."""
        condition = self._wanted().condition
        columns = condition.columns if condition else ()
        tables = {path.partition(":")[0] for path in columns} - {self.table, "records"}
        commands = [
            f"nucleus {name.replace('_', '-')}"
            for name, stage in self.stages.items()
            if isinstance(stage, RowStage) and tables & {spec.name for spec in stage.tables()}
        ]
        run_them = f"; run first: {', '.join(commands)}" if commands else ""
        return f"{', '.join(sorted(tables))}, which --where reads{run_them}"

    def _allowed(self, counts: Mapping[str, int]) -> bool:
        """Reports the counts; returns whether anything was found and another round is allowed."""
        waiting, no_answer, count = counts[NO_ROW], counts[NO_ANSWER], counts[ROWS]
        notes = [f"{waiting:,} wait for {self._awaited()}"] * bool(waiting)
        notes += [f"{no_answer:,} for which --where is NULL"] * bool(no_answer)
        if count or notes:
            self.run.say(", ".join([f"{self.table}: {count:,} to generate again", *notes]))
        if not count:
            return False
        done, most = self.run.pins.rounds.get(self.table, 0), self.stage.settings.rounds
        if done >= most:
            self.run.say(
                f"  not done: {done} rounds were made, and caption.rounds={most} is the limit; "
                "change the prompt or the model, or raise the limit"
            )
        return done < most

    def _make_table(self, digest: int) -> None:
        """Copies all other rows to the newer tables, then publishes and pins these.

        Args:
            digest: Sum of the shards' digests of the list.
        """
        run, corpus, table = self.run, self.run.corpus, self.table
        hashed = hash_of(table, run.tables[table], digest)
        before = Pins.of(self.stages.values(), corpus)
        after = Pins.of(self.stages.values(), corpus, {table: hashed})
        moves = moves_between(before, after, corpus.store)
        newer = {move.name: move.after for move in moves}
        options = self.request.options(table)
        note_copies(corpus.store, newer, (table, run.tables[table]), hashed, options)
        shards = _shards([Table(corpus.store, move.name, move.before) for move in moves])
        folder = run.path("")
        task = CarryTask(corpus.uri, corpus.store.storage_options, moves, table, hashed, folder)
        self._run_on(shards, task, "copies", "copied")
        if not publish(corpus.store, table, run.tables[table], hashed):
            raise CorpusError(
                f"{table}: another run is generating captions again; wait until it has finished"
            )
        run.pin_again(after)

    def _run_on(self, shards: Sequence[int], task: Task, phase: str, done: str) -> StageReport:
        """Runs a task on shards.

        Raises:
            CorpusError: A shard failed.
        """
        items = (Item(shard) for shard in shards)
        report = self.run.loop(self.stage, task, items, len(shards), phase=phase, keep=False)
        if report.failed:
            raise CorpusError(
                f"{self.table}: {len(report.failed)} shards could not be {done}, so nothing was "
                f"generated again: {report.failed[0].error}"
            )
        return report

    def _remove_draft(self) -> None:
        store = self.run.corpus.store
        draft = draft_of(store, self.table, self.run.path(""))
        names = [f"{draft.folder}/{name}" for name in draft.part_names()]
        list(at_once(store, store.remove, names))


def _shards(tables: Sequence[Table]) -> list[int]:
    """Returns the shards in which any of some tables has rows or retryable failures."""
    companions = chain(tables, (table.failed for table in tables))
    return sorted({shard for table in companions for shard in table.shards()})

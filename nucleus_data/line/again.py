"""`nucleus retry caption`: what a check refused, or a condition finds bad, is asked for again.

A variant's captions with those that are asked for again are a newer table (`corpus.again`). What is
made of them (variants, vectors, similarities) follows: rows of what did not change are copied, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from nucleus_data.config import nearest
from nucleus_data.corpus.again import draft_of, hash_of, list_name, note_copies, publish
from nucleus_data.corpus.at_once import at_once
from nucleus_data.corpus.tables import Table
from nucleus_data.errors import CorpusError, RequestError
from nucleus_data.line.before import Stages
from nucleus_data.runner.carry import CarryTask, moves_between
from nucleus_data.runner.pins import Pins
from nucleus_data.runner.run import Run
from nucleus_data.runner.work import Item
from nucleus_data.stages.caption.again import DIGEST, NO_ANSWER, NO_ROW, OWN, ROWS, FindTask, Wanted
from nucleus_data.stages.caption.settings import in_order
from nucleus_data.stages.caption.stage import Caption
from nucleus_data.stages.select.check import upstream_columns
from nucleus_data.stages.select.condition import check_condition

PREFIX = "caption."
FINAL = ("caption_empty", "caption_not_text")  # failures of checks that are no module


@dataclass(frozen=True)
class Request:
    """What is to be asked for again.

    Attributes:
        checks: Names of checks; empty for all, unless there is a condition.
        where: SQL over a record's signals and its caption; None for none.
        variants: Names of variants; empty for all.
    """

    checks: Sequence[str] = ()
    where: str | None = None
    variants: Sequence[str] = ()

    def options(self, table: str) -> list[str]:
        """How `nucleus retry caption` is told of it, for one table."""
        where = [] if self.where is None else ["--where", self.where]
        checks = [part for name in self.checks for part in ("--check", name)]
        return [*where, *checks, "--variant", table.removeprefix(PREFIX)]


def check_request(stage: Caption, request: Request) -> None:
    """Refuses a request that names what is not there. Raises RequestError."""
    known = sorted({*stage.repeated, *FINAL})
    for name in request.checks:
        if name not in known:
            raise RequestError(
                f"--check {name!r}: there is no such check.{nearest(name, known)} Checks: "
                f"{', '.join(known)}"
            )
    variants = list(stage.settings.variants)
    for name in request.variants:
        if name not in variants:
            raise RequestError(
                f"--variant {name!r}: there is no such variant.{nearest(name, variants)} Variants: "
                f"{', '.join(variants)}"
            )
    if request.where is not None and not request.variants:
        raise RequestError(
            f"--where {request.where!r}: whose captions are asked for again? Give --variant; "
            f"variants: {', '.join(variants)}"
        )


def ask_again(run: Run, stages: Stages, stage: Caption, request: Request) -> bool:
    """Asks for captions again, with the attempts after those that there were.

    Args:
        run: The run, with the selection pinned.
        stages: The recipe's stages, by name.
        stage: The caption stage.
        request: What is asked for.

    Returns:
        Whether there was something to ask for.

    Raises:
        RequestError: The request is wrong.
        CorpusError: Rows could not be copied; nothing was asked for.
    """
    check_request(stage, request)
    asked = []
    for name in in_order(stage.settings.variants):
        if not request.variants or name in request.variants:
            asked += [name] * _list(run, stages, stage, PREFIX + name, request)
    if not asked or run.dry_run:
        return bool(asked)
    job = replace(run.job(stage), only_again=True)
    lists = [list_name(PREFIX + name) for name in asked]
    tables = [Table(run.corpus.store, name, run.tables[name]) for name in lists]
    shards = sorted({shard for table in tables for shard in table.shards()})
    run.loop(stage, job, run.items(job, shards), len(shards))
    return True


def _list(run: Run, stages: Stages, stage: Caption, table: str, request: Request) -> bool:
    """Makes the newer table of one variant; says what is asked for again. False if nothing is."""
    try:
        found = _find(run, stage, table, _wanted(run, stage, table, request))
        return _asked(run, stages, stage, table, found, request)
    finally:
        if not run.dry_run:
            store = run.corpus.store
            draft = draft_of(store, table, run.path(""))
            names = [f"{draft.folder}/{name}" for name in draft.part_names()]
            list(at_once(store, store.remove, names))


def _asked(
    run: Run,
    stages: Stages,
    stage: Caption,
    table: str,
    found: Mapping[str, int],
    request: Request,
) -> bool:
    """Says what `_find` counted, and makes the newer table if it may be; False if there is none."""
    waiting, no_answer, count = found[NO_ROW], found[NO_ANSWER], found[ROWS]
    notes = [f"{waiting:,} wait for what --where reads"] * bool(waiting)
    notes += [f"{no_answer:,} for which --where has no answer"] * bool(no_answer)
    if count or notes:
        run.say(", ".join([f"{table}: {count:,} are asked for again", *notes]))
    if not count:
        return False
    done, most = run.pins.rounds.get(table, 0), stage.settings.rounds
    if done >= most:
        run.say(
            f"  not again: there were {done} rounds of it, allowed are caption.rounds={most}; "
            "change the prompt or the model, or raise it"
        )
    elif not run.dry_run:
        _make(run, stages, stage, table, found[DIGEST], request)
    return done < most


def _find(run: Run, stage: Caption, table: str, wanted: Wanted) -> Mapping[str, int]:
    """Has workers find what is asked for again, and leave it in the list's draft; their counts."""
    corpus = run.corpus
    folder = None if run.dry_run else run.path("")
    task = FindTask(
        corpus.uri,
        corpus.store.storage_options,
        run.tables,
        table,
        run.choice.sample,
        wanted,
        folder,
    )
    shards = _shards([Table(corpus.store, table, run.tables[table])])
    items = (Item(shard) for shard in shards)
    report = run.loop(stage, task, items, len(shards), phase="finds", keep=False)
    if report.failed:
        raise CorpusError(
            f"{table}: {len(report.failed)} shards could not be read, so nothing was asked for "
            f"again: {report.failed[0].error}"
        )
    return report.summary.extra


def _shards(tables: Sequence[Table]) -> list[int]:
    """Shards of which tables have rows, or failures that may pass."""
    both = chain(tables, (each.failed for each in tables))
    return sorted({shard for each in both for shard in each.shards()})


def _make(
    run: Run,
    stages: Stages,
    stage: Caption,
    table: str,
    digest: int,
    request: Request,
) -> None:
    """Copies all other rows into the newer tables, then has them be those of the configuration."""
    corpus = run.corpus
    hashed = hash_of(table, run.tables[table], digest)
    before = Pins.of(stages.values(), corpus)
    after = Pins.of(stages.values(), corpus, {table: hashed})
    moves = moves_between(before, after, corpus.store)
    newer = {move.name: move.after for move in moves}
    note_copies(corpus.store, newer, (table, run.tables[table]), hashed, request.options(table))
    shards = _shards([Table(corpus.store, move.name, move.before) for move in moves])
    folder = run.path("")
    task = CarryTask(corpus.uri, corpus.store.storage_options, moves, table, hashed, folder)
    report = run.loop(
        stage, task, (Item(s) for s in shards), len(shards), phase="copies", keep=False
    )
    if report.failed:
        raise CorpusError(
            f"{table}: rows of {len(report.failed)} shards could not be copied, so nothing was "
            f"asked for again: {report.failed[0].error}"
        )
    if not publish(corpus.store, table, run.tables[table], hashed):
        raise CorpusError(f"{table}: another run asks for captions again; wait until it has ended")
    run.pin_again(after)


def _wanted(run: Run, stage: Caption, table: str, request: Request) -> Wanted:
    attempts = stage.settings.attempts
    if request.where is None:
        return Wanted(request.checks or (*stage.repeated,), None, attempts)
    signals = run.pins.signals()
    own = {field.name: table for field in OWN if field.name not in run.pins.catalog()}
    condition = check_condition(
        request.where,
        "--where",
        {**run.pins.catalog(), **own},
        {**signals, **{(table, field.name): field.type for field in OWN}},
        upstream_columns(run.corpus),
    )
    return Wanted(request.checks, condition, attempts)

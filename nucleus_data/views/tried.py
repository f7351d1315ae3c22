"""`nucleus caption --try`: captions a few pictures with every variant; writes a page, no table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nucleus_data.corpus.renewed import PREFIX as AGAIN
from nucleus_data.corpus.states import WORKED_ON
from nucleus_data.corpus.told import command as told
from nucleus_data.errors import RequestError
from nucleus_data.hashing import keyed_sql
from nucleus_data.line.steps import pin_chosen
from nucleus_data.pages.tried import Tried, TriedVariant, write_tried_page
from nucleus_data.runner.actor import StageDiedError
from nucleus_data.runner.inline import run_alone, run_rows, set_up
from nucleus_data.runner.rows import StageJob
from nucleus_data.runner.run import Run
from nucleus_data.stage import Result, Row, RowFailure, Stage
from nucleus_data.stages.caption.asking import Asking
from nucleus_data.stages.caption.models import OWN
from nucleus_data.stages.caption.settings import in_order
from nucleus_data.stages.caption.stage import Caption
from nucleus_data.stages.caption.trial import Recorder
from nucleus_data.stages.select.stage import TABLE as SELECTION

ORDER = "try:"
NOWHERE = "trial"  # config hash of tables that do not exist, so that all captions are generated


def try_captions(
    run: Run, stages: Mapping[str, Stage[Any]], count: int, page: Path
) -> Iterator[str]:
    """Captions some pictures with every variant, in this process, and writes a page.

    Args:
        run: A dry run.
        stages: The recipe's stages, by name.
        count: Number of pictures, chosen by a keyed order among kept and pending records.
        page: The file to write.

    Yields:
        Lines for people.

    Raises:
        RequestError: No record is kept, or the page can't be written.
    """
    stage = stages[Caption.name]
    assert isinstance(stage, Caption)
    _check(page)
    pin_chosen(run, stages, stage)
    chosen = _chosen(run, count)
    if not chosen:
        raise RequestError(f"no record is kept; run: {told('select', run.corpus.uri)}")
    usual = run.job(stage)
    tables = {name: h for name, h in run.tables.items() if not name.startswith(AGAIN)}
    tables |= {spec.name: NOWHERE for spec in stage.tables()}
    job = replace(usual, tables=tables, trial=chosen)
    if notice := stage.first_use():
        yield f"caption: {notice}"
    set_up(job)
    recorders: dict[str, Recorder] = {}

    def record(model: str, engine: Any) -> Recorder:
        recorders[model] = Recorder(engine)
        return recorders[model]

    stage.watch(record)
    tried = []
    for shard in sorted(chosen):
        due = usual.open(shard).due
        tried += [
            _tried(outcome, due, recorders, stage)
            for outcome in _captioned(job, shard, chosen[shard])
        ]
    facts = {
        "corpus": run.corpus.uri,
        "model": ", ".join(stage.settings.with_model(name).model for name in recorders),
        "engine": ", ".join(
            dict.fromkeys(f"{one.name} {one.version}" for one in recorders.values())
        ),
    }
    captions = [v.caption is not None for one in tried for v in one.variants]
    yield f"caption: made {sum(captions)} of {len(captions)} captions for {len(tried)} pictures"
    try:
        write_tried_page(run.corpus, page, facts, tried)
    except OSError as error:
        raise RequestError(f"--out {page} can't be written: {error}") from error
    yield str(page)


def _captioned(job: StageJob, shard: int, rows: Sequence[int]) -> Iterator[Result | RowFailure]:
    """Captions rows of a shard with a stage that was set up; yields their outcomes, not stored."""
    state = job.open(shard)
    try:
        run_rows(state, job.stage)
    except StageDiedError:
        run_alone(state, job.stage)
    yield from (state.outcomes[row] for row in rows if row in state.outcomes)


def _check(page: Path) -> None:
    """Raises RequestError if a page can't be written to a path; called before a model is loaded."""
    if page.is_dir():
        raise RequestError(f"--out {page} can't be written: it is a folder; give a file")
    if not page.parent.is_dir():
        raise RequestError(f"--out {page} can't be written: there is no folder {page.parent}")


def _chosen(run: Run, count: int) -> dict[int, list[int]]:
    """Returns shard -> rows of the chosen records, the same ones in each call."""
    selection = run.corpus.at(SELECTION, run.tables[SELECTION])
    if not selection.whole_parts():
        return {}
    states = ", ".join(f"'{state}'" for state in WORKED_ON)
    rows = run.corpus.connection().sql(
        f"SELECT shard, row FROM {selection.sql()} WHERE state IN ({states}) "
        f"ORDER BY {keyed_sql(ORDER, 'id')}, id LIMIT {count}"
    )
    found: dict[int, list[int]] = {}
    for shard, row in rows.fetchall():
        found.setdefault(shard, []).append(row)
    return {shard: sorted(rows) for shard, rows in sorted(found.items())}


def _tried(
    outcome: Result | RowFailure,
    due: Mapping[str, Any],
    recorders: Mapping[str, Recorder],
    stage: Caption,
) -> Tried:
    """Returns what the page shows of a picture."""
    row: Row = outcome.row
    settings = stage.settings
    variants = []
    for name in in_order(settings.variants):
        recorder = recorders[settings.variants[name].model or OWN]
        asking = Asking(settings.of(name), recorder.count_tokens)
        found: Mapping[str, Any] = {"error": "no outcome"}
        if isinstance(outcome, RowFailure):
            found = {"error": outcome.reason, "detail": outcome.detail}
        elif (made := outcome.values.get(f"caption.{name}")) is not None:
            found = dict(made)
        variants.append(
            TriedVariant(
                name=name,
                prompt=settings.variants[name].prompt_name,
                model=settings.of(name).model if len(recorders) > 1 else "",
                asked=row.row in due[f"caption.{name}"],
                caption=found.get("caption"),
                error=str(found.get("error") or ""),
                detail=str(found.get("detail") or ""),
                attempts=recorder.attempts(row, name, asking),
            )
        )
    return Tried(row.shard, row.row, row.id, variants)

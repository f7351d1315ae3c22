"""The stages as steps of a run: what is pinned, counted and done, in which order."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.told import command as told
from nucleus_data.errors import RequestError
from nucleus_data.line.again import Request, ask_again
from nucleus_data.line.before import (
    Stages,
    check_before,
    check_ingested,
    check_questions,
    check_source,
)
from nucleus_data.line.costs import forecast, look
from nucleus_data.line.counting import leave_counts
from nucleus_data.line.recipe import Recipe
from nucleus_data.line.routing import conditions_of
from nucleus_data.runner.cluster import check_corpus_uri
from nucleus_data.runner.pins import Pins
from nucleus_data.runner.row_stage import (
    count_failures,
    count_rows,
    do_rows,
    has_failures,
    has_repeated,
    retry_rows,
)
from nucleus_data.runner.rows import StageJob
from nucleus_data.runner.run import ALL, Choice, Loop, MakeLoop, Run, Say
from nucleus_data.runner.work import Item, Resources, Size, StageReport, Task
from nucleus_data.runner.workers import Workers, no_room
from nucleus_data.stage import CorpusStage, RowStage
from nucleus_data.stages.caption.stage import Caption
from nucleus_data.stages.select.check import upstream_columns
from nucleus_data.stages.select.stage import Select


@dataclass
class RayLoop:
    """The loop over Ray's workers; Ray is imported and connected to when there is an item."""

    workers: Workers
    name: str
    work: StageJob | Task
    resources: Resources
    say: Say

    def run(self, items: Iterable[Item], total: int | None = None) -> StageReport:
        """Does all items, and returns what became of them."""
        pending = iter(items)
        first = next(pending, None)
        if first is None:
            return StageReport(self.name)
        from nucleus_data.runner.loop import Loop

        # After the import: a job's working directory is unpacked anew where two nodes share it.
        self.workers.connect()
        if no_room(self.resources):
            self.say(
                f"{self.name}: waits until the cluster grows: a worker asks for "
                f"{self.resources.num_cpus:g} CPUs and {self.resources.num_gpus:g} GPUs "
                f"(resources.*.num_cpus, num_gpus), which no machine of it has now"
            )
        return Loop(self.name, self.work, self.resources).run(chain([first], pending), total)


@dataclass
class Loops:
    """Makes the loop that suits the work: one in a worker of this machine, or Ray's."""

    workers: Workers
    say: Say

    def __call__(self, name: str, work: StageJob | Task, resources: Resources, size: Size) -> Loop:
        """The loop for some work."""
        if not self.workers.does_here(resources, size):
            return RayLoop(self.workers, name, work, resources, self.say)
        from nucleus_data.runner.local import LocalLoop

        return LocalLoop(self.workers.local(), name, work, resources)


def open_run(
    recipe: Recipe,
    command: str,
    *,
    choice: Choice = ALL,
    dry_run: bool = False,
    create: bool = False,
    loop: MakeLoop | None = None,
    workers: Workers | None = None,
    steps: Sequence[str] = (),
    say: Say = print,
    pasted: bool = False,
) -> Run:
    """A run of a recipe.

    Args:
        recipe: The configuration.
        command: Name for people, for example `inspect`.
        choice: Which records are worked on.
        dry_run: Count, do no work, write nothing.
        create: Make the corpus if there is none.
        loop: Makes the loop that does a stage's items; by default one with the workers.
        workers: What does the work; not needed where all is done by `loop`.
        steps: The stages that will be run: what they need is checked first.
        say: Where lines for people go.
        pasted: Whether `nucleus COMMAND` does the same, and is noted for the report to tell.

    Raises:
        RequestError: The corpus is missing, of another version, or a relative path inside a Ray
            job; or something that the steps need is not there.
    """
    from nucleus_data import __version__

    if not recipe.corpus:
        raise RequestError("corpus is not set; give corpus=PATH (a folder, or s3://bucket/prefix)")
    check_corpus_uri(recipe.corpus)
    stages = recipe.stages()
    workers = workers or Workers(recipe.ray)
    place = (recipe.corpus, recipe.storage_options)
    # Of a corpus that is not there yet, none is made before all is checked.
    corpus = Corpus(*place, create=create, dry_run=True)
    pins = Pins.of(stages.values(), corpus)
    check_ingested(corpus, steps)
    if create and not dry_run:
        check_source(recipe, stages)
    if steps and not dry_run:
        check_before(recipe, stages, pins, corpus, steps)
    plan: dict[str, Any] = {"version": __version__, "config": recipe.public()}
    if steps:
        plan["steps"] = without_missing(stages, steps)
    if pasted:
        plan["told"] = told(command, recipe.corpus, options=choice.options())
    run = Run(
        Corpus(*place, create=create, dry_run=dry_run),
        pins,
        command=command,
        resources=recipe.workers(),
        loop=loop or Loops(workers, say),
        connect=workers.connect,
        choice=choice,
        dry_run=dry_run,
        conditions=lambda stage, pins: conditions_of(stage, pins, lambda: upstream_columns(corpus)),
        retried={name for name, stage in stages.items() if stage.retried},
        plan=plan,
        say=say,
    )
    if not dry_run:
        for stage in stages.values():
            run.sweep(stage)
    return run


def run_steps(
    run: Run, stages: Stages, names: Sequence[str], *, chooses_at_start: bool = False
) -> None:
    """Runs stages one after the other; a dry run counts for the first alone.

    Args:
        run: The run.
        stages: The recipe's stages, by name.
        names: Which of them are run, in order.
        chooses_at_start: The run's limit and sample are the first stage's; the later ones take all
            that it made.
    """
    names = without_missing(stages, names)
    for i, name in enumerate(names):
        if run.dry_run and i > 0:
            run.say(f"{', '.join(names[i:])}: depend on what comes before; not counted")
            break
        step(run, stages, name)
        if chooses_at_start:
            run = run.choosing(ALL)
    if not run.dry_run:
        leave_counts(run, stages[run.stage_names[0]])


def without_missing(stages: Stages, names: Sequence[str]) -> list[str]:
    """A line without the optional stages that lack a setting.

    What would then be the same stage twice in a row is there once. A line of one stage stays.
    """
    left = [n for n in names if not (stages[n].optional and stages[n].missing())]
    return [n for i, n in enumerate(left) if left[i - 1 : i] != [n]] if left else list(names)


def step(run: Run, stages: Stages, name: str) -> None:
    """One stage: pins what it works with, then does it, or in a dry run counts.

    Raises:
        RequestError: A setting or something that it reads is missing.
    """
    stage = stages[name]
    if missing := stage.missing():
        raise RequestError(missing)
    listed = run.corpus.store.listing_once
    if isinstance(stage, CorpusStage):
        with listed():
            run.pin(stage.pin(run))
        if run.dry_run:
            with listed():
                stage.count(run)
            return
        run.sweep(stage)
        stage.do(run)
    else:
        assert isinstance(stage, RowStage)
        with listed():
            pin_chosen(run, stages, stage)
        if isinstance(stage, Caption):  # of a corpus that was ingested since the line began
            check_questions(stage.settings, run.corpus)
        if run.dry_run and isinstance(stage, Caption):
            for line in forecast(run, stage, count_rows(run, stage, look(run, stage))):
                run.say(line)
        elif run.dry_run:
            count_rows(run, stage)
        else:
            do_rows(run, stage)


def retry(run: Run, stages: Stages, name: str, request: Request | None = None) -> None:
    """Does again a stage's failed rows, and the shards that its newest run failed on.

    A dry run says how many there are.

    Args:
        run: The run.
        stages: The recipe's stages, by name.
        name: The stage.
        request: Of the caption stage: what alone is asked for again, with further attempts; None
            for all that failed.
    """
    stage = stages[name]
    if isinstance(stage, CorpusStage):
        stage.retry(run)
        return
    assert isinstance(stage, RowStage)
    failed = request is None and has_failures(run, stage)
    repeated = request is not None or has_repeated(run, stage)
    if failed or repeated:
        pin_chosen(run, stages, stage)
    if failed and run.dry_run:
        count_failures(run, stage)
    elif failed:
        retry_rows(run, stage)
    if repeated:
        assert isinstance(stage, Caption)
        repeated = ask_again(run, stages, stage, request or Request())
    if not failed and not repeated:
        run.had_nothing(name)


def pin_chosen(run: Run, stages: Stages, stage: RowStage[Any]) -> None:
    """Finds the selection for a stage that works on what is kept."""
    if stage.chooses == "kept":
        select = stages[Select.name]
        assert isinstance(select, Select)
        run.pin(select.found(run))

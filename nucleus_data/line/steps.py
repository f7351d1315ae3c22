"""Opens runs, and runs stages as their steps: pin the inputs, then count or do the work."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.told import command as told
from nucleus_data.errors import RequestError
from nucleus_data.line.before import (
    Stages,
    check_before,
    check_ingested,
    check_questions,
    check_source,
)
from nucleus_data.line.caption_retry import Request, ask_again
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
    """A loop over Ray's workers that imports Ray, and connects to it, only if there is an item.

    Attributes:
        workers: The command's workers.
        name: The stage's name, for people.
        work: A row stage's job, or a task.
        resources: Resources of each worker.
        say: Receives lines for people.
    """

    workers: Workers
    name: str
    work: StageJob | Task
    resources: Resources
    say: Say

    def run(self, items: Iterable[Item], total: int | None = None) -> StageReport:
        """Processes all items, and returns a report."""
        pending = iter(items)
        first = next(pending, None)
        if first is None:
            return StageReport(self.name)
        from nucleus_data.runner.loop import Loop

        # Connect only after the import: if two nodes share a machine, Ray unpacks the job's working
        # directory again when connecting.
        self.workers.connect()
        if no_room(self.resources):
            self.say(
                f"{self.name}: waiting for the cluster to grow: a worker needs "
                f"{self.resources.num_cpus:g} CPUs and {self.resources.num_gpus:g} GPUs "
                f"(resources.*.num_cpus, num_gpus), which no machine has now"
            )
        return Loop(self.name, self.work, self.resources).run(chain([first], pending), total)


@dataclass
class Loops:
    """Chooses the loop for some work: a local worker process for small work, otherwise Ray.

    Attributes:
        workers: The command's workers.
        say: Receives lines for people.
    """

    workers: Workers
    say: Say

    def __call__(self, name: str, work: StageJob | Task, resources: Resources, size: Size) -> Loop:
        """Makes the loop for some work (`runner.run.MakeLoop`)."""
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
    """Checks a request, and makes its run.

    Args:
        recipe: The configuration.
        command: Name for people, for example `inspect`.
        choice: Which records to work on.
        dry_run: Whether to only count, and write nothing.
        create: Whether to make the corpus if it does not exist.
        loop: Makes the loop that processes a stage's items; None for one with the workers.
        workers: The workers; None for new ones, by the recipe.
        steps: Names of the stages that will be run; their requirements are checked first.
        say: Receives lines for people.
        pasted: Whether `nucleus COMMAND` would do the same; then it is stored for the report.

    Raises:
        RequestError: The corpus is missing, was made by another version, or is a relative path
            inside a Ray job; or a requirement of the steps is not met.
    """
    from nucleus_data import __version__

    if not recipe.corpus:
        raise RequestError("corpus is not set; give corpus=PATH (a folder, or s3://bucket/prefix)")
    check_corpus_uri(recipe.corpus)
    stages = recipe.stages()
    workers = workers or Workers(recipe.ray)
    place = (recipe.corpus, recipe.storage_options)
    # A new corpus is only written after all checks.
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
    """Runs stages in order; a dry run counts only for the first one.

    Args:
        run: The run.
        stages: The recipe's stages, by name.
        names: Names of the stages to run, in order.
        chooses_at_start: Whether the run's limit and sample apply to the first stage only; later
            stages then process everything that it took.
    """
    names = without_missing(stages, names)
    for i, name in enumerate(names):
        if run.dry_run and i > 0:
            run.say(f"{', '.join(names[i:])}: not counted (depends on earlier stages)")
            break
        step(run, stages, name)
        if chooses_at_start:
            run = run.choosing(ALL)
    if not run.dry_run:
        leave_counts(run, stages[run.stage_names[0]])


def without_missing(stages: Stages, names: Sequence[str]) -> list[str]:
    """Removes optional stages that lack a setting, and then repeats of a stage in a row.

    If no stage would be left, all are returned.

    Args:
        stages: The recipe's stages, by name.
        names: Names of stages, in order.
    """
    left = [name for name in names if not (stages[name].optional and stages[name].missing())]
    return [name for name, _ in groupby(left)] if left else list(names)


def step(run: Run, stages: Stages, name: str) -> None:
    """Runs one stage: pins its inputs, then does its work; a dry run only counts.

    Args:
        run: The run.
        stages: The recipe's stages, by name.
        name: The stage.

    Raises:
        RequestError: A setting, or a table that the stage reads, is missing.
    """
    stage = stages[name]
    if missing := stage.missing():
        raise RequestError(missing)
    if isinstance(stage, CorpusStage):
        _corpus_step(run, stage)
    else:
        assert isinstance(stage, RowStage)
        _row_step(run, stages, stage)


def _corpus_step(run: Run, stage: CorpusStage[Any]) -> None:
    with run.corpus.store.listing_once():
        run.pin(stage.pin(run))
    if run.dry_run:
        with run.corpus.store.listing_once():
            stage.count(run)
        return
    run.sweep(stage)
    stage.do(run)


def _row_step(run: Run, stages: Stages, stage: RowStage[Any]) -> None:
    with run.corpus.store.listing_once():
        pin_chosen(run, stages, stage)
    if isinstance(stage, Caption):  # the corpus may have been ingested since the line began
        check_questions(stage.settings, run.corpus)
    if run.dry_run and isinstance(stage, Caption):
        for line in forecast(run, stage, count_rows(run, stage, look(run, stage))):
            run.say(line)
    elif run.dry_run:
        count_rows(run, stage)
    else:
        do_rows(run, stage)


def retry(run: Run, stages: Stages, name: str, request: Request | None = None) -> None:
    """Retries a stage's failed rows, and the shards on which its newest run failed.

    A dry run says how many there are.

    Args:
        run: The run.
        stages: The recipe's stages, by name.
        name: The stage.
        request: For the caption stage: which captions to generate again, and no other failures;
            None for all failures.
    """
    stage = stages[name]
    if isinstance(stage, CorpusStage):
        stage.retry(run)
        return
    assert isinstance(stage, RowStage)
    failed = has_failures(run, stage)
    if failed and request is not None:
        run.say(
            f"{name}: failures that may be temporary are left as they are; without --check, "
            "--variant and --where they are retried, of all variants"
        )
        failed = False
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
    """Pins the current selection, if a stage works on kept records only."""
    if stage.chooses == "kept":
        select = stages[Select.name]
        assert isinstance(select, Select)
        run.pin(select.found(run))

"""`nucleus quick-train`: a small training; with --against or --vary, two sides of it compared."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from nucleus_data.commands import comparing
from nucleus_data.commands.group import run_stages
from nucleus_data.commands.support import (
    complain,
    load,
    needing,
    refuse,
    say,
    say_json,
    work_options,
)
from nucleus_data.errors import RequestError

NAME, STEPS = "quick-train", ("quick_train",)


@click.command(NAME)
@click.option(
    "--against",
    metavar="B",
    help="Compare the recipe's set (A) with B: a set, a selection, a recipe's file, or @EDITION; "
    "as `nucleus verdict A B` takes them.",
)
@click.option(
    "--vary",
    "varied",
    multiple=True,
    metavar="KEY=VALUE",
    help="Compare the recipe as it is (A) with itself where KEY has this VALUE (B): both sets are "
    "made. Several keys change together; one key that is given several times is swept, each value "
    "against the recipe as it is.",
)
@comparing.comparison_options
@work_options
def quick_train(
    against: str | None,
    varied: tuple[str, ...],
    limit: int | None,
    sample: float,
    dry_run: bool,
    config: Path | None,
    overrides: tuple[str, ...],
    **given: Any,
) -> None:
    """Train the bundled model on the training set, and sample.

    With --against or --vary many small trainings say instead whether B is better data than A,
    where, and how sure that is: a page, verdict.json, and exit code 3 for "B is worse", as of
    `nucleus verdict`; each run is a task of Ray on one core. How both sides train is the preset's
    and can't be set. The options from --reference to --json are of a comparison alone.
    """
    if against is None and not varied:
        _check_alone(given)
        run_stages(
            NAME,
            STEPS,
            config=config,
            overrides=overrides,
            limit=limit,
            sample=sample,
            dry_run=dry_run,
        )
        return
    tell = complain if given["as_json"] else say
    try:
        _check_request(against, varied, limit, sample)
        comparing.check_overrides(overrides)
        found = _compare(against, varied, dry_run, config, overrides, given, tell)
    except (RequestError, ValueError) as error:
        refuse(error)
    if found is not None:
        found()


def _check_request(
    against: str | None, varied: tuple[str, ...], limit: int | None, sample: float
) -> None:
    """Refuses what does not go together. Raises RequestError."""
    if against is not None and varied:
        raise RequestError("--against and --vary are two comparisons: give one of them")
    if limit is not None or sample != 1:
        raise RequestError(
            "--limit and --sample are of one training; a comparison takes whole sets. Make "
            "smaller ones (nucleus shard --sample 10%) and compare these: nucleus verdict A B"
        )


def _check_alone(given: dict[str, Any]) -> None:
    """Refuses options of a comparison where there is none."""
    context = click.get_current_context()
    for parameter in context.command.params:
        name = str(parameter.name)
        chosen = context.get_parameter_source(name) == ParameterSource.COMMANDLINE
        if name in given and chosen:
            option = parameter.opts[0]
            refuse(RequestError(f"{option} is of a comparison: give --against or --vary too"))


def _compare(
    against: str | None,
    varied: tuple[str, ...],
    dry_run: bool,
    config: Path | None,
    overrides: tuple[str, ...],
    given: dict[str, Any],
    tell: Callable[[str], None],
) -> Callable[[], None] | None:
    """Does a comparison. Returns what says how it ended; None after a dry run."""
    from nucleus_data.line.sets import values_of
    from nucleus_data.runner.workers import Workers

    values = values_of(varied)
    path, recipe = load(config, overrides)
    with needing("train"):
        from nucleus_data.stages.train.replicates import RayRuns
        from nucleus_data.views import varied as sweeps
        from nucleus_data.views import verdict as view
        from nucleus_data.views.sides import Sides, check_differ
    out, as_json = given["out"], given["as_json"]
    claim = given["claim"] or (comparing.RECIPES if varied else comparing.SETS)
    settings = comparing.settings_of(given, claim)
    with Workers(recipe.ray) as workers:
        sides = Sides(NAME, path, recipe, overrides, workers, say=tell)
        if dry_run:
            _forecast(sides, against, values, settings, tell)
            return None
        one = sides.of_recipe(recipe, "the recipe as it is") if varied else sides.trained()
        if against is not None:
            others = [sides.named(against, one)]
        else:
            others = [sides.varied(changes) for changes in values]
        reference = given["reference"]
        yardstick = None if reference is None else sides.named(reference).arm
        if len(others) == 1:
            check_differ(one, others[0])
        shared: dict[str, Any] = {
            "reference": yardstick,
            "clusters": comparing.copies((one, *others), claim, tell),
            "loop": RayRuns(workers.connect),
        }
        with comparing.bar() as progress:
            if len(others) > 1:
                pairs = list(zip(values, others, strict=True))
                swept = sweeps.sweep(one, pairs, out, settings, progress=progress, **shared)
                return lambda: _end_sweep(swept, out, as_json=as_json)
            content = view.verdict(
                one.arm, others[0].arm, out, settings, progress=progress, tell=complain, **shared
            )
            return lambda: comparing.end(content, out, as_json=as_json)


def _forecast(
    sides: Any, against: str | None, values: Any, settings: Any, tell: Callable[[str], None]
) -> None:
    """Says what would be compared, and by how many runs."""
    if against is not None:
        tell(f"A, {sides.trained().arm.name}")
        tell(f"B, {sides.forecast(against)}")
    else:
        tell("A, the recipe as it is: its set, made by select, shard as far as it is not there")
        for changes in values:
            steps = ", ".join(sides.steps(changes))
            tell(f"B, {', '.join(changes)}: its set, made by {steps} as far as it is not there")
    count = 2 * settings.replicates * max(1, len(values))
    tell(f"{NAME}: up to {count} runs of {settings.preset}; nothing was made or trained")


def _end_sweep(content: dict[str, Any], out: Path, *, as_json: bool) -> None:
    from nucleus_data.views import varied as sweeps

    if as_json:
        say_json(content)
        complain(str(out / sweeps.SWEEP_PAGE))
        return
    for line in sweeps.lines(content, out):
        say(line)

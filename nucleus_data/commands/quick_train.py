"""`nucleus quick-train`: a small training, or with --against or --vary a comparison of two."""

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
    refusing,
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
    help="Compare the recipe's set (A) with B, which is a set, a selection, a recipe's file, or "
    "@EDITION, as for `nucleus verdict A B`.",
)
@click.option(
    "--vary",
    "varied",
    multiple=True,
    metavar="KEY=VALUE",
    help="Compare the recipe as it is (A) with the recipe in which KEY has this VALUE (B); both "
    "sets are made. Different keys change together; one key given several times is a sweep, which "
    "compares each value with the recipe as it is.",
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

    With --against or --vary, it instead compares two training sets by many small trainings, as
    `nucleus verdict` does: is B better data than A, where, and how certain is that? The result is a
    page, verdict.json, and exit code 3 for "B is worse", 4 for "better in one way and worse in
    another". Each run is a Ray task on one core. Both sides train with the preset's
    hyper-parameters, which can't be changed. The options from --reference to --json apply to
    comparisons only.
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
    with refusing():
        _check_request(against, varied, limit, sample)
        comparing.check_overrides(overrides)
        found = _compare(against, varied, dry_run, config, overrides, given, tell)
    if found is not None:
        found()


def _check_request(
    against: str | None, varied: tuple[str, ...], limit: int | None, sample: float
) -> None:
    """Refuses options that exclude each other. Raises RequestError."""
    if against is not None and varied:
        raise RequestError("--against and --vary cannot be used together: give one of them")
    if limit is not None or sample != 1:
        raise RequestError(
            "--limit and --sample cannot be used in a comparison, which takes whole sets. Make "
            "smaller sets (nucleus shard --sample 10%) and compare them: nucleus verdict A B"
        )


def _check_alone(given: dict[str, Any]) -> None:
    """Refuses options of a comparison if there is no comparison."""
    context = click.get_current_context()
    for parameter in context.command.params:
        name = str(parameter.name)
        chosen = context.get_parameter_source(name) == ParameterSource.COMMANDLINE
        if name in given and chosen:
            option = parameter.opts[0]
            raise RequestError(f"{option} can only be used with --against or --vary")


def _compare(
    against: str | None,
    varied: tuple[str, ...],
    dry_run: bool,
    config: Path | None,
    overrides: tuple[str, ...],
    given: dict[str, Any],
    tell: Callable[[str], None],
) -> Callable[[], None] | None:
    """Runs a comparison.

    Returns:
        A function that prints the result and exits; None after a dry run.
    """
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
    """Says what would be compared, and with how many runs."""
    if against is not None:
        tell(f"A, {sides.trained().arm.name}")
        tell(f"B, {sides.forecast(against)}")
    else:
        tell("A, the recipe as it is: its set (missing parts would be made by select, shard)")
        for changes in values:
            steps = ", ".join(sides.steps(changes))
            tell(f"B, {', '.join(changes)}: its set (missing parts would be made by {steps})")
    count = 2 * settings.replicates * max(1, len(values))
    tell(f"{NAME}: up to {count} {settings.preset} runs; nothing was made or trained")


def _end_sweep(content: dict[str, Any], out: Path, *, as_json: bool) -> None:
    from nucleus_data.views import varied as sweeps

    if as_json:
        say_json(content)
        complain(str(out / sweeps.SWEEP_PAGE))
        return
    for line in sweeps.lines(content, out):
        say(line)

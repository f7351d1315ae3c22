"""Commands that look at a corpus or a configuration, and change nothing in it."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from nucleus_data.commands.support import (
    common_options,
    complain,
    finish,
    load,
    opened,
    say,
    say_json,
    work_options,
)
from nucleus_data.corpus.told import command as told


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@common_options
def status(as_json: bool, config: Path | None, overrides: tuple[str, ...]) -> None:
    """Show what a corpus contains: records, tables, sets, runs."""
    from nucleus_data.views.status import status as status_of
    from nucleus_data.views.status_lines import status_lines

    with opened("status", config, overrides, dry_run=True) as found:
        content = status_of(found.run, found.stages)
        _show(content, status_lines, as_json)


@click.command()
@click.argument("record")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@common_options
def explain(record: str, as_json: bool, config: Path | None, overrides: tuple[str, ...]) -> None:
    """Show one record's history, and why it was kept or not.

    RECORD is its id (or a prefix of it), key, file name or URL, which are searched for in all image
    shards; or its position @SHARD/ROW, as given in exports and tables, which needs no search.
    """
    from nucleus_data.views import explain as view
    from nucleus_data.views.placed import placement

    with opened("explain", config, overrides, dry_run=True) as found:
        story = view.explain(found.run.corpus, record)
        if placed := placement(found.run, found.stages["select"], story):
            story["curriculum bucket"] = placed
        _show(story, view.explain_lines, as_json)


# Sections of a recipe that change the input of `select`, and so can't be tried here.
MEASURING = ("ingest", "inspect", "dedup", "embed", "score")


@click.command("what-if")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@work_options
def what_if(
    as_json: bool,
    config: Path | None,
    overrides: tuple[str, ...],
    limit: int | None,
    sample: float,
    dry_run: bool,
) -> None:
    """Show what other rules would change.

    Prints counts, and writes a page of the pictures that would leave and enter the current
    selection, and nothing else. Takes the arguments of `select`, for example
    'rules.too_small=least(width, height) < 300'.
    """
    from nucleus_data.runner.run import Choice
    from nucleus_data.views import compare as view

    _, changed = load(config, overrides)
    options: dict[str, Any] = {"choice": Choice(limit, sample), "dry_run": dry_run}
    base = view.without_select(overrides)
    if shared := [o for o in base if o.partition("=")[0].partition(".")[0] in MEASURING]:
        _aside(as_json)(
            f"what-if: {', '.join(shared)}: used on both sides, as only what `select` decides "
            "varies; to compare pairs or signals, make a selection with them and compare it with "
            f"the current one (nucleus diff); run: {told('curate', changed.corpus)}"
        )
    with opened("what-if", config, base, tell=_aside(as_json), **options) as found:
        _show(view.what_if(found.run, found.recipe, changed), view.lines, as_json)
        finish(found.run)


@click.command()
@click.argument("before")
@click.argument("after")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@common_options
def diff(
    before: str, after: str, as_json: bool, config: Path | None, overrides: tuple[str, ...]
) -> None:
    """Compare two selections, in counts and on a page.

    BEFORE and AFTER are config hashes of selections (a prefix is enough) or names of runs. The page
    shows the pictures that leave and enter.
    """
    from nucleus_data.views import compare as view

    with opened("diff", config, overrides, tell=_aside(as_json)) as found:
        shown = found.stages["report"].settings.thumbnails
        _show(view.diff(found.run, before, after, shown), view.lines, as_json)


def _aside(as_json: bool) -> Callable[[str], None]:
    """Returns where a command's messages go: to stderr if a script reads JSON from stdout."""
    return complain if as_json else say


def _show(
    content: dict[str, Any], lines: Callable[[dict[str, Any]], Iterable[str]], as_json: bool
) -> None:
    """Prints an answer, unless it is empty."""
    if as_json and content:
        say_json(content)
    elif content:
        for line in lines(content):
            say(line)


@click.command()
@click.option(
    "--each",
    type=click.IntRange(1, 200),
    default=12,
    show_default=True,
    help="Pairs to show at each distance.",
)
@common_options
def pairs(each: int, config: Path | None, overrides: tuple[str, ...]) -> None:
    """Write a page of duplicates side by side.

    It shows some pairs at each distance: which copy stays, and why.
    """
    from nucleus_data.views.pairs import show_pairs

    with opened("pairs", config, overrides) as found:
        for line in show_pairs(found.run, found.stages["dedup"], found.stages["select"], each):
            say(line)


@click.command(name="config")
@common_options
def show_config(config: Path | None, overrides: tuple[str, ...]) -> None:
    """List every setting with its value and its meaning."""
    from nucleus_data.line.recipe import describe_settings

    values = load(config, overrides)[1].public()
    for key, default, text in describe_settings():
        value: Any = values
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        now = json.dumps(value)
        say(f"{key} = {now if len(now) < 100 else now[:97] + '...'}")
        say(f"    {text} (default: {default if len(default) < 80 else default[:77] + '...'})")


@click.command()
@common_options
def check(config: Path | None, overrides: tuple[str, ...]) -> None:
    """Check a configuration, without a corpus or weights.

    Parses rules, looks models up, and builds the transformer on the meta device.
    """
    from nucleus_data.line.check import check as lines

    path, recipe = load(config, overrides)
    for line in lines(recipe):
        say(line)
    say(f"{path} is valid")

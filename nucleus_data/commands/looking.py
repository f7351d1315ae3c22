"""Commands that look at a corpus or a configuration, and change nothing in it."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from nucleus_data.commands.support import (
    common_options,
    config_path,
    finish,
    opened,
    refuse,
    work_options,
)
from nucleus_data.errors import RequestError


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@common_options
def status(as_json: bool, config: Path | None, overrides: tuple[str, ...]) -> None:
    """What a corpus holds: records, tables, selections, training sets, runs."""
    from nucleus_data.views import status as view

    with opened("status", config, overrides, dry_run=True) as found:
        content = view.status(found.run)
        click.echo(json.dumps(content) if as_json else "\n".join(view.status_lines(content)))


@click.command()
@click.argument("record_id")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@common_options
def explain(record_id: str, as_json: bool, config: Path | None, overrides: tuple[str, ...]) -> None:
    """One record's whole story: where it came from, what was measured, why it was kept or not."""
    from nucleus_data.views import explain as view

    with opened("explain", config, overrides, dry_run=True) as found:
        story = view.explain(found.run.corpus, record_id)
        if as_json:
            click.echo(json.dumps(story, default=_jsonable))
        else:
            click.echo("\n".join(view.explain_lines(story)))


# Sections of a recipe that change what `select` reads.
MEASURING = ("ingest", "inspect", "dedup", "embed")


@click.command("what-if")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@work_options
def what_if(
    as_json: bool,
    config: Path | None,
    overrides: tuple[str, ...],
    limit: int | None,
    sample: float,
    dry_run: bool,
) -> None:
    """What other rules would change: counts, and a page of pictures that would leave and enter.

    Compared with the selection that there is; nothing is written but that page. Arguments as those
    of `select`; `rules.NAME=...`, `prefer=...` and `drop_duplicates=...` need no `select.`.
    """
    from nucleus_data.line.recipe import load_recipe
    from nucleus_data.runner.run import Choice
    from nucleus_data.views import compare as view

    asked = view.spelled_out(overrides)
    try:
        changed = load_recipe(config_path(config), asked)
    except RequestError as error:
        refuse(error)
    options: dict[str, Any] = {"choice": Choice(limit, sample), "dry_run": dry_run}
    base = view.without_select(asked)
    if shared := [o for o in base if o.partition("=")[0].partition(".")[0] in MEASURING]:
        _aside(as_json)(
            f"what-if: {', '.join(shared)}: on both sides, as only what `select` decides is tried; "
            "to compare pairs or signals, `nucleus curate` with them, then `nucleus diff`"
        )
    with opened("what-if", config, base, say=_aside(as_json), **options) as found:
        _show(view.what_if(found.run, found.recipe, changed), as_json)
        finish(found.run)


@click.command()
@click.argument("before")
@click.argument("after")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@common_options
def diff(
    before: str, after: str, as_json: bool, config: Path | None, overrides: tuple[str, ...]
) -> None:
    """Compare two selections: counts, and a page of pictures that leave and enter.

    BEFORE and AFTER are config hashes of selections (their beginnings are enough) or names of runs.
    """
    from nucleus_data.views import compare as view

    with opened("diff", config, overrides, say=_aside(as_json)) as found:
        shown = found.stages["report"].settings.thumbnails
        _show(view.diff(found.run, before, after, shown), as_json)


def _aside(as_json: bool) -> Callable[[str], None]:
    """Where a command's own lines go: not where a script reads JSON."""
    return partial(click.echo, err=True) if as_json else click.echo


def _show(content: dict[str, Any], as_json: bool) -> None:
    from nucleus_data.views.compare import lines

    if content:
        click.echo(json.dumps(content) if as_json else "\n".join(lines(content)))


@click.command()
@click.option("--each", type=click.IntRange(1, 200), default=12, show_default=True, help="Pairs.")
@common_options
def pairs(each: int, config: Path | None, overrides: tuple[str, ...]) -> None:
    """A page of duplicates side by side, some of each distance, to see what the search finds."""
    from nucleus_data.views.pairs import show_pairs

    with opened("pairs", config, overrides) as found:
        for line in show_pairs(found.run, found.stages["dedup"], each):
            click.echo(line)


@click.command()
@click.argument("target")
@common_options
def export(target: str, config: Path | None, overrides: tuple[str, ...]) -> None:
    """Write the kept records (ids, keys, URLs, upstream columns) to TARGET (.parquet or .csv)."""
    from nucleus_data.views import export as view

    with opened("export", config, overrides, dry_run=True) as found:
        count = view.export(found.run, found.stages["select"], target)
        click.echo(f"{count:,} kept records\n{target}")


@click.command(name="config")
@common_options
def show_config(config: Path | None, overrides: tuple[str, ...]) -> None:
    """List every setting with its value and what it means."""
    from nucleus_data.line.recipe import describe_settings, load_recipe

    try:
        values = load_recipe(config_path(config), overrides).public()
    except RequestError as error:
        refuse(error)
    for key, default, text in describe_settings():
        value: Any = values
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        now = json.dumps(value)
        click.echo(f"{key} = {now if len(now) < 100 else now[:97] + '...'}")
        click.echo(
            f"    {text} (default: {default if len(default) < 80 else default[:77] + '...'})"
        )


@click.command()
@common_options
def check(config: Path | None, overrides: tuple[str, ...]) -> None:
    """Check a whole configuration, without a corpus and without weights.

    Rules are parsed, models looked up, and the transformer is built on the meta device.
    """
    from nucleus_data.line.check import check as lines
    from nucleus_data.line.recipe import load_recipe

    try:
        path = config_path(config)
        for line in lines(load_recipe(path, overrides)):
            click.echo(line)
        click.echo(f"{path} is sound")
    except RequestError as error:
        refuse(error)


def _jsonable(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else str(value)

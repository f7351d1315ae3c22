"""Shared by all commands: options, opening a run, printing, and exit codes."""

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import click

from nucleus_data.corpus.told import assume_default
from nucleus_data.errors import RequestError
from nucleus_data.printed import jsonable, visible

DEFAULT_CONFIG = "nano/recipe.yaml"
CONFIG_HELP = "Recipe, a YAML file [default: configs/nano/recipe.yaml]."
EXIT_FAILED = 1
EXIT_REQUEST = 2


class Share(click.ParamType):
    """A share: `1%` or `0.01`."""

    name = "share"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Converts text to a number above 0 and at most 1."""
        if isinstance(value, float):
            return value
        try:
            share = float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
        except ValueError:
            share = 0.0
        if not 0 < share <= 1:
            self.fail(f"{value!r} is not a share above 0% and up to 100%, for example 1% or 0.01")
        return share


class Number(click.FloatRange):
    """A finite number in a range; click's own range has `nan` and `inf` in it."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Converts text to a number."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


class LocalPath(click.Path):
    """A path on this machine; of a URL, `pathlib` would make a folder called `s3:`."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Converts text to a path."""
        if isinstance(value, str) and ("://" in value or not value):
            what = "a URL" if value else "empty"
            self.fail(f"{value!r} is {what}; give a path on this machine", param, ctx)
        return super().convert(value, param, ctx)


def common_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--config` and overrides."""
    for option in reversed(
        [
            click.option(
                "--config",
                type=LocalPath(path_type=Path),
                help=CONFIG_HELP,
            ),
            click.argument("overrides", nargs=-1, metavar="[KEY.SUB=VALUE]..."),
        ]
    ):
        command = option(command)
    return command


def work_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--limit`, `--sample`, `--dry-run`, and the common options."""
    for option in reversed(
        [
            click.option(
                "--limit",
                type=click.IntRange(1),
                help="Process only this many records, the first ones.",
            ),
            click.option(
                "--sample",
                type=Share(),
                default=1.0,
                help="Process only this share of the records, e.g. 1%; always the same ones.",
            ),
            click.option(
                "--dry-run", is_flag=True, help="Count what would be done, without doing it."
            ),
        ]
    ):
        command = option(command)
    return common_options(command)


def with_default_config(name: str) -> Callable[[Any], Any]:
    """Names another file of `configs/` as the default in a command's help."""

    def changed(command: Any) -> Any:
        for parameter in command.__click_params__:
            if parameter.name == "config":
                parameter.help = CONFIG_HELP.replace(DEFAULT_CONFIG, name)
        return command

    return changed


class Opened(NamedTuple):
    """A run, the recipe it belongs to, and the recipe's stages by name."""

    run: Any
    recipe: Any
    stages: Mapping[str, Any]


def say(line: object) -> None:
    """Prints a line to stdout; control characters, newlines included, are escaped.

    All output of commands goes through this function, `complain` or `say_json`.
    """
    click.echo(visible(str(line)))


def complain(lines: str) -> None:
    """Prints an error or a note, of one or several lines, to stderr."""
    click.echo(visible(lines, keep="\n"), err=True)


def say_json(content: object) -> None:
    """Prints JSON, in ASCII, to stdout."""
    click.echo(json.dumps(jsonable(content), allow_nan=False))


@contextmanager
def opened(
    command: str,
    config: Path | None,
    overrides: Sequence[str],
    *,
    tell: Callable[[str], None] = say,
    **options: Any,
) -> Iterator[Opened]:
    """Opens a configured run, whose workers are started when there is work.

    Args:
        command: Name for people, for example `inspect`.
        config: YAML file; the default one if None.
        overrides: `key.sub=value`.
        tell: Where lines for people go.
        options: Further arguments of `line.steps.open_run`: `choice`, `dry_run`, `create`,
            `pasted`.
    """
    import duckdb
    import pyarrow as pa

    from nucleus_data.corpus.looking import find_damaged
    from nucleus_data.line.steps import open_run
    from nucleus_data.runner.workers import Workers

    run = None
    try:
        path, recipe = load(config, overrides)
        with Workers(recipe.ray) as workers:
            run = open_run(recipe, command, workers=workers, say=tell, **options)
            if run.name:
                tell(f"{command}: {path}; run {run.name}")
            yield Opened(run, recipe, recipe.stages())
    except (duckdb.Error, pa.ArrowException):
        # These errors do not name the file. Look for a damaged one; if there is none, it is a bug.
        found = find_damaged(run.corpus) if run is not None else []
        if not found:
            raise
        for one in found[1:]:
            complain(f"error: {one}")
        raise found[0] from None


def load(config: Path | None, overrides: Sequence[str]) -> tuple[Path, Any]:
    """Loads a recipe; returns the path of its file (the default one if None), and the recipe.

    Raises:
        RequestError: The file or an override is wrong.
    """
    from nucleus_data.line.recipe import load_recipe

    path = config_path(config)
    recipe = load_recipe(path, overrides)
    if config is None:
        assume_default(recipe.corpus)
    return path, recipe


def finish(run: Any) -> None:
    """Exits with code 1 if shards failed."""
    if run.failed_shards:
        complain(f"{run.failed_shards} shards failed; everything else is done")
        sys.exit(EXIT_FAILED)


@contextmanager
def refusing() -> Iterator[None]:
    """Turns a ValueError, with which `nucleus_model` refuses arguments, into a RequestError."""
    try:
        yield
    except ValueError as error:
        raise RequestError(str(error)) from error


@contextmanager
def needing(extra: str) -> Iterator[None]:
    """Turns a missing package into an error with the command that installs it.

    Args:
        extra: The extra of this package that includes it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("nucleus_"):
            raise
        install = f"pip install 'nucleus-data[{extra}]'"
        raise RequestError(f"this command needs {error.name}; run: {install}") from error


def config_path(given: Path | None, name: str = DEFAULT_CONFIG) -> Path:
    """The configuration file: the one given, or one that comes with the project."""
    from nucleus_data.config import located, shipped

    return located(given) if given is not None else shipped(name)

"""`nucleus verdict`: is this training set better than that one?"""

import json
from pathlib import Path
from typing import Any

import click

from nucleus_data.commands import comparing
from nucleus_data.commands.support import (
    common_options,
    complain,
    load,
    needing,
    refusing,
    say,
    say_json,
)
from nucleus_data.errors import RequestError


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@comparing.comparison_options
@click.option("--workers", type=click.IntRange(1), help="Concurrent runs [default: one per core].")
@click.option(
    "--storage-option",
    "storage",
    multiple=True,
    metavar="KEY=VALUE",
    help="Storage option for sets outside the corpus; repeatable. VALUE may be JSON.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Estimate the detectable difference and the time, from a few timed steps.",
)
@common_options
def verdict(
    a: str,
    b: str,
    reference: str | None,
    claim: str | None,
    workers: int | None,
    storage: tuple[str, ...],
    out: Path,
    dry_run: bool,
    as_json: bool,
    config: Path | None,
    overrides: tuple[str, ...],
    **given: Any,
) -> None:
    """Compare two training sets by small trainings.

    The verdict says whether B is better than A, where, and how certain that is. A and B are each
    the folder or URL of a set, such as corpus/sets/train/HASH; or, with corpus=CORPUS, a set (its
    name, NAME/HASH, or a prefix of its hash), a selection (a prefix of its hash, or a run's name),
    or a recipe's file (.yaml). If the set of a selection or recipe does not exist yet, it is made
    (select, shard). A suffix @EDITION chooses among a set's caption editions; B may be @EDITION
    alone. Overrides apply to every recipe that is read.

    Both sides train equally long and with the same seeds, on the same pictures where both have
    them. Exit code 3 means that B is worse, 4 that it is better in one way and worse in another.
    """
    tell = complain if as_json else say
    with refusing():
        comparing.check_overrides(overrides)
        claim = claim or comparing.SETS
        options = dict(_option(text) for text in storage)
        path, recipe = load(config, overrides)
        with needing("train"):
            from nucleus_data.views import verdict as view
            from nucleus_data.views.sides import Sides, check_differ
        from nucleus_data.runner.workers import Workers

        settings = comparing.settings_of(given, claim)
        with Workers(recipe.ray) as hands:
            sides = Sides(
                "verdict", path, recipe, overrides, hands, storage_options=options, say=tell
            )
            asked = (a, b) if reference is None else (a, b, reference)
            if dry_run and not all(sides.there(text) for text in asked):
                for text in asked:
                    tell(sides.forecast(text))
                tell("nothing was made or trained; time can be estimated once the sets exist")
                return
            one = sides.named(a)
            other = sides.named(b, one)
            yardstick = None if reference is None else sides.named(reference)
        check_differ(one, other)
        if dry_run:
            foreseen = view.foresee(
                one.arm, other.arm, settings, None if yardstick is None else yardstick.arm, workers
            )
            if as_json:
                say_json({k: v for k, v in foreseen.items() if k != "text"})
            for line in () if as_json else foreseen["text"]:
                say(line)
            return
        clusters = comparing.copies((one, other), claim, tell)
        with comparing.bar() as progress:
            content = view.verdict(
                one.arm,
                other.arm,
                out,
                settings,
                reference=None if yardstick is None else yardstick.arm,
                clusters=clusters,
                workers=workers,
                progress=progress,
                tell=complain,
            )
    comparing.end(content, out, as_json=as_json)


def _option(text: str) -> tuple[str, Any]:
    key, found, value = text.partition("=")
    if not found or not key:
        raise RequestError(f"--storage-option {text!r}: give KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value

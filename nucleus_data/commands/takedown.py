"""`nucleus takedown`: removes pictures, and everything made from them, for good."""

import sys
from pathlib import Path

import click

from nucleus_data.commands.support import (
    EXIT_FAILED,
    LocalPath,
    common_options,
    complain,
    opened,
    say,
)
from nucleus_data.commands.values import value_options


@click.command()
@value_options
@click.option(
    "--like",
    multiple=True,
    type=LocalPath(exists=True, dir_okay=False, path_type=Path),
    help="File of a picture to remove, with its near duplicates as `dedup` finds them; repeatable.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be removed, without removing it.")
@common_options
def takedown(
    values: list[tuple[str, str]],
    like: tuple[Path, ...],
    dry_run: bool,
    config: Path | None,
    overrides: tuple[str, ...],
) -> None:
    """Remove pictures from a corpus for good.

    Everything made from them is removed too, training sets included, and so are all pictures with
    the same bytes. Records stay, with the reason `taken_down` and without content. Only tars that
    contain such pictures are rewritten; then everything is read again to check that they are gone.
    Later ingests refuse them.
    After a kill or a failure, the same command continues. Exports and trained models are listed,
    but not changed.
    """
    from nucleus_data.corpus.blocked import KINDS
    from nucleus_data.stages.upkeep.request import Request
    from nucleus_data.stages.upkeep.takedown import forecast, take_down

    with opened("takedown", config, overrides, dry_run=dry_run) as found:
        dedup = found.recipe.dedup
        ids, urls, hosts, digests = (tuple(v for kind, v in values if kind == one) for one in KINDS)
        request = Request.of(ids, urls, hosts, digests, like, dedup.hashes)
        if dry_run:
            for line in forecast(found.run, request, dedup):
                say(line)
        elif not take_down(found.run, request, dedup):
            complain("takedown: not finished; run the same command again")
            sys.exit(EXIT_FAILED)

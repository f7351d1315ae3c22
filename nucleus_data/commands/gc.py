"""`nucleus gc`: shows and removes what nothing uses."""

from pathlib import Path

import click

from nucleus_data.commands.support import common_options, opened, say, say_json


@click.command()
@click.option("--remove", is_flag=True, help="Remove what is unused instead of listing it.")
@click.option(
    "--run",
    "runs",
    multiple=True,
    help="Keep what this run (a name in runs/) used, instead of what any run used; repeatable.",
)
@click.option(
    "--newest", type=click.IntRange(0), help="Keep only what this many of the newest runs used."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@common_options
def gc(
    remove: bool,
    runs: tuple[str, ...],
    newest: int | None,
    as_json: bool,
    config: Path | None,
    overrides: tuple[str, ...],
) -> None:
    """Show or remove what no run and no set uses.

    This covers tables, training sets and encoded values. It keeps what the current configuration
    uses, what runs of the last day used, and what all other runs in runs/ used (or only those
    chosen by --run or --newest). Records, images, claims and imported captions are always kept.
    """
    from nucleus_data.stages.encode.used import reads
    from nucleus_data.stages.upkeep import gc as upkeep

    with opened("gc", config, overrides, dry_run=True) as found:
        counted = upkeep.Counted(runs, newest)
        encoders = upkeep.Encoders(found.recipe.public(), reads)
        garbage = upkeep.garbage(found.run, counted, encoders)
        if remove:
            upkeep.remove(found.run.corpus.store, garbage)
        if as_json:
            say_json([vars(one) for one in garbage])
            return
        for line in upkeep.lines(garbage, removed=remove):
            say(line)

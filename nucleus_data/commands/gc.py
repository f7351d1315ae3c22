"""`nucleus gc`: shows and removes what nothing uses."""

from pathlib import Path

import click

from nucleus_data.commands.support import common_options, opened, say, say_json


@click.command()
@click.option("--remove", is_flag=True, help="Remove it; without this, it is shown alone.")
@click.option(
    "--run", "runs", multiple=True, help="Count this run alone, by its name in runs/; repeatable."
)
@click.option("--newest", type=click.IntRange(0), help="Count so many of the newest runs alone.")
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
    """Show tables, sets and encoded values that no run and no set uses; --remove removes them.

    The configuration, the runs of the last day, and all runs in runs/ count, or those that are
    named. Records, images and claims always stay, and so do imported captions.
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

"""`nucleus fit-curriculum`: fits the constants with which curriculum buckets are drawn."""

from pathlib import Path

import click

from nucleus_data.commands.support import LocalPath, common_options, finish, opened, say, say_json


@click.command("fit-curriculum")
@click.argument("file", type=LocalPath(dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@common_options
def fit_curriculum(
    file: Path, as_json: bool, config: Path | None, overrides: tuple[str, ...]
) -> None:
    """Fit the constants of select.curriculum.

    Fits them on the kept records and writes them to FILE (JSON): the ranks of sizes, and mean and
    standard deviation of tier and size combined. With one FILE, a record's bucket does not change
    when other records come or go.
    """
    from nucleus_data.commands.support import complain
    from nucleus_data.views import curriculum as view

    tell = complain if as_json else say
    with opened("fit-curriculum", config, overrides, tell=tell) as found:
        content = view.fit_curriculum(found.run, found.recipe, file)
        if as_json and content:
            say_json(content)
        elif content:
            for line in view.lines(content):
                say(line)
        finish(found.run)

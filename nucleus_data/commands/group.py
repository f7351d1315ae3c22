"""The group of all commands: those in this package's modules, and one per entry of `LINES`."""

import importlib
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from nucleus_data.commands.ending import with_endings
from nucleus_data.commands.support import finish, opened, work_options


class Commands(click.Group):
    """A group that finds its commands in the modules of this package, then in `LINES`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, sorted."""
        from nucleus_data.line.lines import LINES

        return sorted({*_found(), *LINES})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Returns the command of that name, or None."""
        found = _found().get(cmd_name)
        if found is not None:
            return with_endings(found)
        from nucleus_data.line.lines import LINES

        line = LINES.get(cmd_name)
        if line is None:
            return None
        return line_command(cmd_name, line.steps, line.help, chooses_at_start=line.chooses_at_start)


def _found() -> dict[str, click.Command]:
    """Returns name -> command, from all modules of this package."""
    folder = str(Path(__file__).parent)
    names = [f"{__package__}.{info.name}" for info in pkgutil.iter_modules([folder])]
    modules = [importlib.import_module(name) for name in names if not name.endswith("__main__")]
    values = [value for module in modules for value in vars(module).values()]
    commands = [value for value in values if isinstance(value, click.Command)]
    # Subcommands of a group are also variables of its module, but no commands of their own.
    subcommands = [
        c for group in commands if isinstance(group, click.Group) for c in group.commands.values()
    ]
    return {c.name: c for c in commands if c.name and c not in subcommands}


def line_command(
    name: str, steps: Sequence[str], text: str, *, chooses_at_start: bool = False
) -> click.Command:
    """Makes a command that runs stages.

    Args:
        name: The command's name.
        steps: Names of stages, in order.
        text: The command's help.
        chooses_at_start: Whether `--limit` and `--sample` apply to the first stage only; later
            stages then process everything that it took.
    """

    @click.command(name, help=text)
    @work_options
    def command(**given: Any) -> None:
        run_stages(name, steps, chooses_at_start=chooses_at_start, **given)

    return with_endings(command)


def run_stages(
    name: str,
    steps: Sequence[str],
    *,
    config: Path | None,
    overrides: Sequence[str],
    limit: int | None,
    sample: float,
    dry_run: bool,
    chooses_at_start: bool = False,
) -> None:
    """Runs stages as one command; the arguments are those of `work_options`."""
    from nucleus_data.line.lines import LINES
    from nucleus_data.line.steps import run_steps
    from nucleus_data.runner.run import Choice

    options: dict[str, Any] = {
        "choice": Choice(limit, sample),
        "dry_run": dry_run,
        "create": "ingest" in steps,
        "pasted": name in LINES,
        "steps": steps,
    }
    with opened(name, config, overrides, **options) as found:
        own = found.stages.get(name)
        if own is not None and (dry_run or own.missing()):
            # The command `embed` also runs `select`, before and after. A dry run counts only the
            # stage itself; and if the stage lacks a setting, running it alone reports that, where
            # the whole line would skip the stage.
            steps = (name,)
        run_steps(found.run, found.stages, steps, chooses_at_start=chooses_at_start)
        finish(found.run)

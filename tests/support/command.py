"""The command, in this process."""

from contextlib import nullcontext

from click.testing import CliRunner

from nucleus_data.commands import cli
from nucleus_data.runner.inline import InlineLoop


def work_here(patch):
    """Commands do their work in this process: no Ray is started, and no worker.

    Args:
        patch: pytest's MonkeyPatch.
    """
    patch.setattr("nucleus_data.runner.loop.Loop", InlineLoop)
    patch.setattr("nucleus_data.runner.workers.connected", nullcontext)
    patch.setattr("nucleus_data.runner.workers.Workers.does_here", lambda *_: False)
    patch.setattr("nucleus_data.line.steps.no_room", lambda _: False)


def nucleus(*arguments, code=0):
    """Runs the command in this process; returns what it printed."""
    result = CliRunner().invoke(cli, [str(a) for a in arguments])
    assert result.exit_code == code, f"{arguments}: {result.output}\n{result.exception!r}"
    return result.output

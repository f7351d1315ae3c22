"""The command, in this process."""

from click.testing import CliRunner

from nucleus_data.commands import cli


def nucleus(*arguments, code=0):
    """Runs the command in this process; returns what it printed."""
    result = CliRunner().invoke(cli, [str(a) for a in arguments])
    assert result.exit_code == code, f"{arguments}: {result.output}\n{result.exception!r}"
    return result.output

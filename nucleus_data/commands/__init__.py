"""The command `nucleus`: each stage, the lines of stages, and looking at a corpus.

Here is click and nothing else; what the commands do is imported when one runs. A command is found
by being in one of this package's modules; one for each line of stages is made of `line.lines`.

Exit codes: 0 done, 1 some shards failed or what does the work is gone, 2 the request was wrong,
130 and 143 it was stopped (Ctrl-C, SIGTERM).
"""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from nucleus_data.commands.ending import (
    EXIT_TERMINATED,
    STOPPED,
    TerminatedError,
    debug_option,
    on_signals,
    stopped_by,
)
from nucleus_data.commands.group import Commands, line_command
from nucleus_data.commands.support import complain

HELP = """\
Curate, caption and shard image corpora; prove by a quick training run that the data is good.

\b
Try it:     nucleus demo
Your own:   nucleus all corpus=my-corpus ingest.source=my-pictures
Settings:   any key of the configuration as KEY.SUB=VALUE; `nucleus config` lists them.
"""


@click.group(
    cls=Commands,
    help=HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="nucleus-data")
def cli() -> None:
    """The group of all commands."""


cli.params.append(debug_option())


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command."""
    _run(cli, arguments, "nucleus")


def run_pipeline(name: str, steps: Sequence[str], *, chooses_at_start: bool = False) -> None:
    """Entry point of a module such as those in `pipelines`: stages, with a command's options.

    Args:
        name: What the run is called.
        steps: Names of stages.
        chooses_at_start: A limit or sample chooses what the first stage takes; the later ones take
            all of that.
    """
    text = f"Run {', '.join(steps)}."
    command = line_command(name, steps, text, chooses_at_start=chooses_at_start)
    # They are `nucleus_data.pipelines` where the package was installed from a wheel.
    module = getattr(sys.modules["__main__"], "__spec__", None)
    _run(command, None, f"python -m {module.name}" if module else f"python {sys.argv[0]}")


def _run(command: click.Command, arguments: Sequence[str] | None, prog_name: str) -> NoReturn:
    """Runs a command, and ends the process with its exit code."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    on_signals()
    code = 0
    try:
        command.main(args=list(arguments) if arguments is not None else None, prog_name=prog_name)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except TerminatedError:
        complain(STOPPED)
        code = EXIT_TERMINATED
    if code:  # `nucleus world --serve` ends well by Ctrl-C
        code = stopped_by() or code
    # A pipe that nobody reads any more, a full disk behind a redirection.
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            code = code or 1
    # Ray is shut down by now, and nothing else is left to end. An ordinary exit would let
    # DuckDB 2.0's bindings print a page about objects that pyarrow's threads still hold.
    os._exit(code)

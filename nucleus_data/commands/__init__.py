"""The command `nucleus`: one subcommand per stage and per line of stages, and views of a corpus.

This package contains only click code; what a command does is imported when it runs. Commands are
discovered in this package's modules; those that run stages are generated from `line.lines`.

Exit codes: 0 done; 1 some shards failed, or a resource was lost (Ray, a model, disk space); 2 the
request was wrong; 3 a verdict says that B is worse; 4 it says better in one way and worse in
another; 130 and 143 stopped (Ctrl-C, SIGTERM).
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
Curate, caption and shard image corpora, and check the data by a quick training run.

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
    """Entry point of the modules in `pipelines`: runs stages, with a command's options.

    Args:
        name: Name of the run.
        steps: Names of stages.
        chooses_at_start: Whether `--limit` and `--sample` apply to the first stage only; later
            stages then process everything that it took.
    """
    text = f"Run {', '.join(steps)}."
    command = line_command(name, steps, text, chooses_at_start=chooses_at_start)
    # In a wheel, these modules are `nucleus_data.pipelines`.
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
    # Flushing fails on a closed pipe, or if output is redirected to a full disk.
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            code = code or 1
    # Ray is shut down by now, and nothing else is left to end. An ordinary exit would let
    # DuckDB 2.0's bindings print a page about objects that pyarrow's threads still hold.
    os._exit(code)

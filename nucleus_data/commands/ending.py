"""Error handling of commands: every error becomes a one-line message and an exit code.

With `--debug`, which every command has, the traceback is printed as well.
"""

import copy
import errno
import functools
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

import click

from nucleus_data.commands.support import EXIT_FAILED, EXIT_REQUEST, complain
from nucleus_data.errors import CorpusError, RequestError, StoppedError

DEBUG = "nucleus_data.debug"
EXIT_INTERRUPTED, EXIT_TERMINATED = 130, 143
STOPPED = "stopped; all committed work is kept. Run the same command again to continue"
EXTRAS = {
    "torch": "train",
    "torchvision": "train",
    "diffusers": "train",
    "tensorboard": "train",
    "safetensors": "train",
    "transformers": "caption",
    "open_clip": "embed",
    "scipy": "embed",
    "img2dataset": "download",
    "s3fs": "s3",
    "gcsfs": "gcs",
}


_stopped_by: list[int] = []


class TerminatedError(BaseException):
    """This process was asked to end (SIGTERM)."""


def with_endings(command: click.Command) -> click.Command:
    """Returns a copy of a command with this error handling and the option `--debug`."""
    other = copy.copy(command)
    if isinstance(other, click.Group):
        other.commands = {name: with_endings(each) for name, each in other.commands.items()}
        return other
    if command.callback is None:
        return command
    inner = command.callback

    @functools.wraps(inner)
    def callback(*args: Any, **given: Any) -> Any:
        with told():
            return inner(*args, **given)

    other.callback = callback
    other.params = [*command.params, debug_option()]
    return other


def debug_option() -> click.Option:
    """The option `--debug`."""

    def note(context: click.Context, _: click.Parameter, given: bool) -> None:
        context.meta[DEBUG] = given or context.meta.get(DEBUG, False)

    text = "Show the traceback of errors."
    return click.Option(
        ["--debug"], is_flag=True, expose_value=False, is_eager=True, callback=note, help=text
    )


@contextmanager
def told() -> Iterator[None]:
    """Turns exceptions into messages and an exit code."""
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except (KeyboardInterrupt, TerminatedError, SystemExit) as error:
        # While Ray starts, its own handler turns SIGTERM into this exit.
        if isinstance(error, SystemExit) and error.code != signal.SIGTERM:
            raise
        _debug()
        click.echo(err=True)
        complain(STOPPED)
        sys.exit(EXIT_INTERRUPTED if isinstance(error, KeyboardInterrupt) else EXIT_TERMINATED)
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            raise  # click ends quietly where nobody reads any more
        _debug()
        text, code = words(error)
        complain(f"error: {text}")
        sys.exit(code)


def words(error: Exception) -> tuple[str, int]:
    """Returns the message and the exit code for an error."""
    if isinstance(error, RequestError):
        return str(error), EXIT_REQUEST
    if isinstance(error, CorpusError | StoppedError):
        return str(error), EXIT_FAILED
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        extra = f"'nucleus-data[{EXTRAS[package]}]'" if package in EXTRAS else package
        return f"the package {package} is not installed: pip install {extra}", EXIT_FAILED
    if isinstance(error, MemoryError):
        return f"out of memory ({first or 'MemoryError'}); nothing was lost", EXIT_FAILED
    if isinstance(error, OSError) and (error.strerror or error.filename):
        where = f"{error.filename}: " if error.filename else ""
        said = error.strerror or first
        return f"{where}{said[:1].lower()}{said[1:]}", EXIT_FAILED
    return (
        f"{type(error).__name__}: {first} (unexpected error; --debug shows where it was raised)",
        EXIT_FAILED,
    )


def on_signals() -> None:
    """Makes SIGTERM end a command as Ctrl-C does; a second signal ends it at once."""
    signal.signal(signal.SIGTERM, _first)
    signal.signal(signal.SIGINT, _first)


def stopped_by() -> int:
    """Returns the exit code for the signal received; 0 if there was none."""
    return _stopped_by[0] if _stopped_by else 0


def _first(number: int, _: FrameType | None) -> NoReturn:
    _stopped_by.append(EXIT_TERMINATED if number == signal.SIGTERM else EXIT_INTERRUPTED)
    signal.signal(signal.SIGTERM, _second)
    signal.signal(signal.SIGINT, _second)
    raise TerminatedError if number == signal.SIGTERM else KeyboardInterrupt


def _second(number: int, _: FrameType | None) -> NoReturn:
    os._exit(EXIT_TERMINATED if number == signal.SIGTERM else EXIT_INTERRUPTED)


def _debug() -> None:
    """Prints the traceback, if `--debug` was given."""
    context = click.get_current_context(silent=True)
    if context is not None and context.meta.get(DEBUG):
        traceback.print_exc()
        # What was raised in a worker was raised elsewhere than here.
        if trace := getattr(sys.exc_info()[1], "trace", ""):
            click.echo(f"In the worker:\n{trace}", err=True)

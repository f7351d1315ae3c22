"""Reads the lines of text files separately: one that is too long or not UTF-8 loses only itself."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from nucleus_data.upstream.json_objects import parsed

MOST_LINE = 16 << 20  # bytes
BOM = b"\xef\xbb\xbf"
WIDE = (b"\xff\xfe", b"\xfe\xff")
SHOWN = 1000  # number of bytes that are kept of a line that can't be read


@dataclass(frozen=True, slots=True)
class Line:
    """A line.

    Attributes:
        number: Number of the line, from 1.
        text: The line including its end; if it can't be read, its beginning.
        problem: The reason why the line can't be read; empty if it can.
    """

    number: int
    text: str
    problem: str = ""


def lines(file: IO[bytes]) -> Iterator[Line]:
    """Yields the lines of a file.

    Raises:
        OSError: The file can't be read, or is UTF-16.
    """
    number, more = 0, b""
    while line := file.readline(MOST_LINE):
        number += 1
        if number == 1:
            if line.startswith(WIDE):
                raise OSError("it is UTF-16; convert it to UTF-8")
            line = line.removeprefix(BOM)
        if len(line) == MOST_LINE and not line.endswith(b"\n"):
            while (more := file.readline(MOST_LINE)) and not more.endswith(b"\n"):
                pass
            yield Line(number, _shown(line), f"it is longer than {MOST_LINE:,} bytes")
            continue
        try:
            yield Line(number, line.decode())
        except UnicodeDecodeError as error:
            why = f"it is not UTF-8: {error.reason} at byte {error.start}"
            yield Line(number, _shown(line), why)


def json_rows(file: IO[bytes]) -> Iterator[tuple[Line, dict[str, Any]]]:
    """Yields the non-empty lines of a JSON Lines file, with their objects.

    A line that is not a JSON object has a `problem`, and an empty object.

    Raises:
        OSError: The file can't be read.
    """
    for line in lines(file):
        if line.problem:
            yield line, {}
        elif line.text.strip():
            row = parsed(line.text)
            if row is None:
                yield Line(line.number, line.text, _why(line.text)), {}
            else:
                yield line, row


def _why(text: str) -> str:
    """Returns the reason why a text is not accepted as a JSON object."""
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        return str(error)
    return "it is not a JSON object, or is nested too deep"


def _shown(line: bytes) -> str:
    return line[:SHOWN].decode("utf-8", "backslashreplace")

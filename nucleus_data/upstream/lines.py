"""Lines of text files, each alone: one that is too long or no UTF-8 costs itself."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from nucleus_data.upstream.json_objects import parsed

MOST_LINE = 16 << 20  # bytes
BOM = b"\xef\xbb\xbf"
WIDE = (b"\xff\xfe", b"\xfe\xff")
SHOWN = 1000  # bytes of a line that can't be read


@dataclass(frozen=True, slots=True)
class Line:
    """A line.

    Attributes:
        number: From 1.
        text: What it says, its end included; of one that can't be read, how it begins.
        problem: Why it can't be read; empty if it can.
    """

    number: int
    text: str
    problem: str = ""


def lines(file: IO[bytes]) -> Iterator[Line]:
    """The lines of a file.

    Raises:
        OSError: It can't be read, or is UTF-16.
    """
    number, more = 0, b""
    while line := file.readline(MOST_LINE):
        number += 1
        if number == 1:
            if line.startswith(WIDE):
                raise OSError("it is UTF-16; write it as UTF-8")
            line = line.removeprefix(BOM)
        if len(line) == MOST_LINE and not line.endswith(b"\n"):
            while (more := file.readline(MOST_LINE)) and not more.endswith(b"\n"):
                pass
            yield Line(number, _shown(line), f"it is longer than {MOST_LINE:,} bytes")
            continue
        try:
            yield Line(number, line.decode())
        except UnicodeDecodeError as error:
            why = f"it is no UTF-8: {error.reason} at byte {error.start}"
            yield Line(number, _shown(line), why)


def json_rows(file: IO[bytes]) -> Iterator[tuple[Line, dict[str, Any]]]:
    """JSON lines and their objects, empty ones left out; those that are none have a problem.

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
    """Why a text is no JSON object that is read."""
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        return str(error)
    return "it is no JSON object, or one that is nested too deep"


def _shown(line: bytes) -> str:
    return line[:SHOWN].decode("utf-8", "backslashreplace")

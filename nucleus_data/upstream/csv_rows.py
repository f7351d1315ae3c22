"""Parses the rows of a CSV separately, so that a row with an unclosed quote loses only its line.

Parsing continues with the next line as the beginning of a row.
"""

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from nucleus_data.upstream.lines import MOST_LINE, Line, lines

MOST_LINES = 500  # maximum number of lines of a row, which may have line ends in quotes
CARRIAGE_RETURN = (
    "a line end is a carriage return alone, as in files of old Macs; convert it to line feeds"
)
DELIMITERS = (",", "\t", ";", "|")


@dataclass(frozen=True, slots=True)
class CsvRow:
    """A row.

    Attributes:
        line: Number of the row's first line, from 1.
        fields: The values, as many as the header has; empty if the row can't be read.
        text: The row's first line.
        problem: The reason why the row can't be read; empty if it can.
    """

    line: int
    fields: Sequence[str]
    text: str
    problem: str = ""


class CsvRows:
    """A CSV or TSV file, whose separator is detected from its first line.

    Args:
        file: The file, in UTF-8.
        names: Names of the columns, if the file has no header line; None for a header.

    Attributes:
        names: Names of the columns.

    Raises:
        OSError: The first line can't be read.
        csv.Error: The first line can't be parsed.
    """

    def __init__(self, file: IO[bytes], names: Sequence[str] | None = None) -> None:
        csv.field_size_limit(MOST_LINE)
        self._lines = lines(file)
        self._ahead: deque[Line] = deque()
        self._delimiter = ","
        head = next(self._lines, Line(1, ""))
        if head.problem:
            raise OSError(f"line 1: {head.problem}")
        # A name may have commas in it, but hardly a tab.
        tabs = "\t" in head.text
        self._delimiter = "\t" if tabs else max(DELIMITERS, key=head.text.count)
        self.names = list(names) if names is not None else self._head(head)
        if names is not None:
            self._ahead.append(head)

    def rows(self) -> Iterator[CsvRow]:
        """Yields the rows, including those that can't be read, but not empty lines."""
        while (first := self._next()) is not None:
            fields: list[str] = []
            problem = first.problem
            if not problem and not first.text.strip():
                continue
            if not problem:
                fields, problem = self._row(first)
            if not problem and len(fields) != len(self.names):
                problem = f"it has {len(fields)} fields, and the head has {len(self.names)}"
            yield CsvRow(first.number, () if problem else fields, first.text, problem)

    def _head(self, head: Line) -> list[str]:
        return [name.strip() for name in next(iter(self._parsed([head.text])), [])]

    def _next(self) -> Line | None:
        return self._ahead.popleft() if self._ahead else next(self._lines, None)

    def _row(self, first: Line) -> tuple[list[str], str]:
        """Parses the row that begins with a line, consuming its further lines.

        Returns:
            The fields and an empty text; or no fields and the problem, in which case no further
            lines are consumed.
        """
        taken, size = [first], len(first.text)
        while True:
            try:
                (fields,) = self._parsed([line.text for line in taken])
            except csv.Error as error:
                problem = str(error)
            else:
                return fields, ""
            open_quote = "unexpected end" in problem
            more = self._upto_quote(MOST_LINES - len(taken), MOST_LINE - size) if open_quote else []
            if not more:
                self._ahead.extendleft(reversed(taken[1:]))
                return [], "a quote is opened and not closed" if open_quote else problem
            taken += more
            size += sum(len(line.text) for line in more)

    def _upto_quote(self, count: int, size: int) -> list[Line]:
        """Takes the next lines up to one with a quote; none if there is no such line nearby."""
        found: list[Line] = []
        while len(found) < count and size > 0 and (line := self._next()) is not None:
            found.append(line)
            size -= len(line.text)
            if line.problem:
                break
            if '"' in line.text:
                return found
        self._ahead.extendleft(reversed(found))
        return []

    def _parsed(self, texts: list[str]) -> list[list[str]]:
        try:
            return list(csv.reader(texts, delimiter=self._delimiter, strict=True))
        except csv.Error as error:
            if "new-line character" in str(error):
                raise csv.Error(CARRIAGE_RETURN) from error
            raise

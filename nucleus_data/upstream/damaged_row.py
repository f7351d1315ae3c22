"""The description of a row of a list that can't be read."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DamagedRow:
    """A row that can't be read.

    Attributes:
        file: Name of the file.
        line: Number of the row's first line, from 1.
        text: Content of the row, or its beginning.
        reason: The reason, for people.
    """

    file: str
    line: int
    text: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file} line {self.line} ({self.reason})"

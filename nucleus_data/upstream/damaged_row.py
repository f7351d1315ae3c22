"""A row of a list that cannot be read."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DamagedRow:
    """A row that cannot be read.

    Attributes:
        file: Name of its file.
        line: Its line, from 1; of several lines, the first.
        text: What stands there.
        reason: What is wrong with it, in words.
    """

    file: str
    line: int
    text: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file} line {self.line} ({self.reason})"

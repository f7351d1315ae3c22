"""Outcomes as they come, on disk: bodies one behind the other, and a line each in a journal.

What comes at one turn of the event loop is written at its end: bodies before their lines, and both
before their URLs count as done. So a process that is killed loses what was in flight, and the next
one reads the rest back. What a machine that went down held in memory alone may be missing: a
journal of an earlier start of the machine is not taken.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import psutil

from nucleus_data.stages.ingest.http.outcome import Download

JOURNAL, BODIES = "journal", "bodies"
BOOT = Path("/proc/sys/kernel/random/boot_id")
PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class _Entry:
    offset: int
    size: int
    reason: str | None
    detail: str | None
    retryable: bool
    final_url: str | None


class Spool:
    """The outcomes of some URLs, by their place.

    Args:
        folder: Where it lies; what is there of the same work is taken up.
        work: What tells this work from another: a digest.

    One process at a time may have it.
    """

    def __init__(self, folder: Path, work: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._journal = os.open(folder / JOURNAL, os.O_RDWR | os.O_CREAT, 0o644)
        self._bodies = os.open(folder / BODIES, os.O_RDWR | os.O_CREAT, 0o644)
        self._entries: dict[int, _Entry] = {}
        self._new_bodies: list[bytes] = []
        self._new_lines: list[str] = []
        self._end = self._read_back(f"{work} {_boot()}\n".encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.flush()
        os.close(self._journal)
        os.close(self._bodies)

    def __contains__(self, place: int) -> bool:
        return place in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def keep(self, place: int, outcome: Download, body: bytes | IO[bytes] | None = None) -> int:
        """Keeps an outcome; what counts as its bytes is `body`. Returns how many they are.

        It is written by `flush`.
        """
        size = 0
        if isinstance(body, bytes):
            size = len(body)
            self._new_bodies.append(body)
        elif body is not None:
            self.flush()
            with body:
                body.seek(0)
                while piece := body.read(PIECE):
                    size += len(piece)
                    _write(self._bodies, piece)
        values = (outcome.reason, outcome.detail, outcome.retryable, outcome.final_url)
        entry = _Entry(self._end, size, *values)
        line = json.dumps([place, self._end, size, *values])
        self._new_lines.append(line)
        self._end += size
        self._entries[place] = entry
        return size

    def flush(self) -> None:
        """Writes what was kept since the last time."""
        if self._new_bodies:
            small = sum(map(len, self._new_bodies)) <= PIECE
            for body in [b"".join(self._new_bodies)] if small else self._new_bodies:
                _write(self._bodies, body)
            self._new_bodies.clear()
        if self._new_lines:
            _write(self._journal, "".join(line + "\n" for line in self._new_lines).encode())
            self._new_lines.clear()

    def read(self, place: int) -> Download:
        """An outcome that was written, with its bytes."""
        entry = self._entries[place]
        data = None
        if entry.reason is None:
            data = os.pread(self._bodies, entry.size, entry.offset)
        return Download(data, entry.reason, entry.detail, entry.retryable, entry.final_url)

    def sync(self) -> None:
        """Writes all of it, and waits until it would survive the machine."""
        self.flush()
        os.fsync(self._bodies)
        os.fsync(self._journal)

    def _read_back(self, first: bytes) -> int:
        """Reads what is there, up to what is not whole; returns where the bodies end."""
        with os.fdopen(os.dup(self._journal), "rb") as journal:
            journal.seek(0)
            most, end = os.fstat(self._bodies).st_size, 0
            good = 0
            if journal.readline() == first:
                good = len(first)
                for line in journal:
                    entry = _parsed(line)
                    if entry is None or entry[1].offset + entry[1].size > most:
                        break
                    self._entries[entry[0]] = entry[1]
                    good, end = good + len(line), max(end, entry[1].offset + entry[1].size)
        os.ftruncate(self._journal, good)
        os.ftruncate(self._bodies, end)
        os.lseek(self._journal, good, os.SEEK_SET)
        os.lseek(self._bodies, end, os.SEEK_SET)
        if not good:
            _write(self._journal, first)
        return end


def _parsed(line: bytes) -> tuple[int, _Entry] | None:
    """A line of the journal; None if it was not written to its end."""
    if not line.endswith(b"\n"):
        return None
    try:
        place, *values = json.loads(line)
        return int(place), _Entry(*values)
    except (ValueError, TypeError):
        return None


def _write(file: int, data: bytes) -> None:
    """Writes all of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _boot() -> str:
    """Tells one start of the machine from another."""
    try:
        return BOOT.read_text().strip()
    except OSError:
        return str(round(psutil.boot_time() / 60))

"""Outcomes as they come, on disk: one file, of each outcome a line of JSON and its body behind it.

What comes within some milliseconds is written at once, and only then do its URLs count as done. So
a process that is killed loses what was in flight, and the next one reads the rest back. What a
machine that went down held in memory alone may be missing: a file of an earlier start of the
machine is not taken, and so none has to wait for the disk. (What is published is on the disk.)
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Self

import psutil

from nucleus_data.stages.ingest.http.outcome import Download

SPOOL = "outcomes"
BOOT = Path("/proc/sys/kernel/random/boot_id")
PIECE = 1 << 20
MOST_PIECES = 500  # of one call; the system takes 1,024
Body = list[bytes] | tuple[bytes, ...] | IO[bytes]
# What most outcomes are, and how it is said.
PICTURE, PICTURE_SAID = Download(None), "null,null,false,null]"
_said = json.JSONEncoder(separators=(",", ":")).encode


class _Entry(NamedTuple):
    offset: int
    size: int
    outcome: Download  # without its bytes


class Spool:
    """The outcomes of some URLs, by their place.

    Args:
        folder: Where it lies; what is there of the same work is taken up.
        work: What tells this work from another: a digest.

    Attributes:
        unwritten: How many bytes `flush` is to write.

    One process at a time may have it.
    """

    def __init__(self, folder: Path, work: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(folder / SPOOL, os.O_RDWR | os.O_CREAT, 0o644)
        self._entries: dict[int, _Entry] = {}
        self._new: list[bytes] = []
        self.unwritten = 0
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
        os.close(self._file)

    def __contains__(self, place: int) -> bool:
        return place in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def keep(self, place: int, outcome: Download, body: Body = ()) -> int:
        """Keeps an outcome without its bytes, which are `body`. Returns how many they are.

        It is written by `flush`.
        """
        size = sum(map(len, body)) if isinstance(body, list | tuple) else body.seek(0, os.SEEK_END)
        told = PICTURE_SAID if outcome == PICTURE else _said(outcome[1:])[1:]
        line = f"[{place},{size},{told}\n".encode()
        self._entries[place] = _Entry(self._end + self.unwritten + len(line), size, outcome)
        self._new.append(line)
        self.unwritten += len(line)
        if isinstance(body, list | tuple):
            self._new += body
            self.unwritten += size
        else:
            self.flush()
            self._copy(body)
        return size

    def flush(self) -> None:
        """Writes what was kept since the last time."""
        for start in range(0, len(self._new), MOST_PIECES):
            _write(self._file, self._new[start : start + MOST_PIECES])
        self._new.clear()
        self._end, self.unwritten = self._end + self.unwritten, 0

    def read(self, place: int) -> Download:
        """An outcome that was written, with its bytes."""
        offset, size, outcome = self._entries[place]
        if outcome.reason is not None:
            return outcome
        return outcome._replace(data=os.pread(self._file, size, offset))

    def _copy(self, body: IO[bytes]) -> None:
        with body:
            body.seek(0)
            while piece := body.read(PIECE):
                _write(self._file, [piece])
                self._end += len(piece)

    def _read_back(self, first: bytes) -> int:
        """Reads what is there, up to what is not whole; returns where that ends."""
        end = 0
        with os.fdopen(os.dup(self._file), "rb") as file:
            file.seek(0)
            most = os.fstat(self._file).st_size
            if file.readline() == first:
                end = len(first)
                while (found := _parsed(file.readline(), file.tell())) is not None:
                    place, entry = found
                    if entry.offset + entry.size > most:
                        break
                    self._entries[place] = entry
                    end = file.seek(entry.offset + entry.size)
        os.ftruncate(self._file, end)
        os.lseek(self._file, end, os.SEEK_SET)
        if not end:
            _write(self._file, [first])
            end = len(first)
        return end


def _parsed(line: bytes, offset: int) -> tuple[int, _Entry] | None:
    """The outcome of a line whose body begins at `offset`; None if it was not written whole."""
    if not line.endswith(b"\n"):
        return None
    try:
        place, size, *values = json.loads(line)
        return int(place), _Entry(offset, int(size), Download(None, *values))
    except (ValueError, TypeError):
        return None


def _write(file: int, pieces: Sequence[bytes]) -> None:
    """Writes all of it."""
    rest = sum(map(len, pieces)) - os.writev(file, pieces)
    if rest:  # a disk that is all but full, a large write
        view = memoryview(b"".join(pieces))[-rest:]
        while view:
            view = view[os.write(file, view) :]


def _boot() -> str:
    """Tells one start of the machine from another."""
    try:
        return BOOT.read_text().strip()
    except OSError:
        return str(round(psutil.boot_time() / 60))

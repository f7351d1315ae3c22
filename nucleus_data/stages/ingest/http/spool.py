"""A spool file of outcomes: for each outcome, a line of JSON followed by its body.

Outcomes are written in batches every few milliseconds, and only then count as done. So a killed
process loses only what was in flight, and the next one reads the rest back. The file is not synced
to disk, so after a crash of the machine it may be incomplete: a file from before the last boot is
discarded. (Published data is synced.)
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
MOST_PIECES = 500  # maximum buffers per writev; the system's limit is 1,024
Body = list[bytes] | tuple[bytes, ...] | IO[bytes]
# The most common outcome, and its serialized form.
PICTURE, PICTURE_SAID = Download(None), "null,null,false,null]"
_said = json.JSONEncoder(separators=(",", ":")).encode


class _Entry(NamedTuple):
    offset: int
    size: int
    outcome: Download  # without its bytes


class Spool:
    """Stores the outcomes of URLs, by their index. Only one process may use a folder at a time.

    Args:
        folder: Folder of the spool file; an existing file of the same work is resumed.
        work: Digest that identifies the work.

    Attributes:
        unwritten: Number of bytes that `flush` has to write.
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
        """Adds an outcome, with its bytes given as `body`; it is written by `flush`.

        Returns:
            The size of the body.
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
        """Writes all outcomes added since the last call."""
        for start in range(0, len(self._new), MOST_PIECES):
            _write(self._file, self._new[start : start + MOST_PIECES])
        self._new.clear()
        self._end, self.unwritten = self._end + self.unwritten, 0

    def read(self, place: int) -> Download:
        """Reads a written outcome, with its bytes."""
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
        """Reads the file, truncates it after the last complete outcome, and returns its end."""
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
    """Parses a line whose body begins at `offset`; None if the line is incomplete."""
    if not line.endswith(b"\n"):
        return None
    try:
        place, size, *values = json.loads(line)
        return int(place), _Entry(offset, int(size), Download(None, *values))
    except (ValueError, TypeError):
        return None


def _write(file: int, pieces: Sequence[bytes]) -> None:
    """Writes all pieces."""
    rest = sum(map(len, pieces)) - os.writev(file, pieces)
    if rest:  # a partial write, as with a nearly full disk
        view = memoryview(b"".join(pieces))[-rest:]
        while view:
            view = view[os.write(file, view) :]


def _boot() -> str:
    """Returns an identifier of the machine's current boot."""
    try:
        return BOOT.read_text().strip()
    except OSError:
        return str(round(psutil.boot_time() / 60))

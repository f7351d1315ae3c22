"""Reads a body: limits on bytes, rate and decoding, and a look at what it is.

What is small is held in memory, what is larger goes to a file at once: memory is bounded by the
URLs in flight and not by their bodies.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from aiohttp import ClientResponse

from nucleus_data.stages.ingest.http.failures import RefusedError
from nucleus_data.stages.ingest.http.spool import Body
from nucleus_data.stages.ingest.listing.formats import HEAD, shows_image, sniffed

IN_MEMORY = 1 << 20
PIECE = 1 << 16
MOST_PIECES = 256
_WEAK = {"bmp", "jxl"}  # so few magic bytes that more than these must be right


@dataclass(frozen=True)
class BodyLimits:
    """What a body may cost.

    Attributes:
        most: Bytes at most, as sent and as decoded.
        min_rate: Bytes a second that it must bring.
        grace_s: Seconds before the rate counts.
        folder: For bodies that are not held in memory.
    """

    most: int
    min_rate: float
    grace_s: float
    folder: Path


async def read_body(
    response: ClientResponse,
    limits: BodyLimits,
    clock: Callable[[], float],
    heard: Callable[[float], None],
) -> Body:
    """A picture's bytes as they came, in pieces, or a file of them.

    Args:
        response: The answer, of which the head was read.
        limits: What the body may cost.
        clock: Seconds.
        heard: Told the time whenever something came.

    Raises:
        RefusedError: It is too large, too slow, empty, encoded in a way that is not known, or not
            a picture.
    """
    _check_length(response.content_length, limits.most)
    decoder, content = _decoder(response), response.content
    started = clock()
    heard(started)
    received, taken = 0, _Taken(limits)
    try:
        while chunk := await content.readany():
            received += len(chunk)
            _check_size(received, limits.most)
            now = clock()
            heard(now)
            _check_rate(received, now - started, limits)
            if decoder is None:
                taken.add(chunk)
            else:
                for piece in decoder.pieces(chunk):
                    taken.add(piece)
        if decoder is not None:
            decoder.end()
        return taken.whole()
    except BaseException:
        if taken.file is not None:
            taken.file.close()
        raise


class _Taken:
    """The pieces of a body: the first of them are looked at, many go to a file."""

    def __init__(self, limits: BodyLimits) -> None:
        self.file: IO[bytes] | None = None
        self._limits = limits
        self._pieces: list[bytes] = []
        self._size, self._looked = 0, False

    def add(self, piece: bytes) -> None:
        """Takes the next piece."""
        self._size += len(piece)
        _check_size(self._size, self._limits.most)
        if self.file is None:
            self._pieces.append(piece)
            if len(self._pieces) > MOST_PIECES:  # a trickle
                self._pieces = [b"".join(self._pieces)]
            if not self._looked and self._size >= HEAD:
                self._look()
            if self._size > IN_MEMORY:
                self.file = TemporaryFile(dir=self._limits.folder)  # noqa: SIM115
                self.file.writelines(self._pieces)
                self._pieces.clear()
        else:
            self.file.write(piece)

    def whole(self) -> Body:
        """All of it."""
        if not self._looked:
            self._look()
        return self._pieces if self.file is None else self.file

    def _look(self) -> None:
        self._looked = True
        first = self._pieces[0] if self._pieces else b""
        _check_picture((first if len(first) >= HEAD else b"".join(self._pieces))[:HEAD])


def _decoder(response: ClientResponse) -> "_Decoder | None":
    """What undoes the Content-Encoding; None where there is none."""
    name = response.headers.get("Content-Encoding", "").strip().lower()
    return None if name in ("", "identity") else _Decoder(name)


class _Decoder:
    """Undoes a Content-Encoding in small pieces; we ask for none, but not everybody hears that."""

    def __init__(self, name: str) -> None:
        if name in ("gzip", "x-gzip", "deflate"):
            self._zlib = zlib.decompressobj(32 + zlib.MAX_WBITS)
        else:
            raise RefusedError(
                "bad_encoding", f"Content-Encoding: {name[:100]}, though none was asked for"
            )

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """What a chunk holds, in pieces that are small however well it was packed."""
        try:
            more = True
            while more and not self._zlib.eof:
                if piece := self._zlib.decompress(chunk, PIECE):
                    yield piece
                chunk = self._zlib.unconsumed_tail
                more = bool(chunk) or len(piece) == PIECE
        except zlib.error as error:
            raise RefusedError("bad_encoding", str(error)) from None

    def end(self) -> None:
        """Checks that nothing is missing."""
        if not self._zlib.eof:
            raise RefusedError("bad_encoding", "the compressed body ends too early")


def _check_length(length: int | None, most: int) -> None:
    if length is not None and length > most:
        raise RefusedError("too_large", f"{length} bytes; ingest.max_bytes is {most}")


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise RefusedError("too_large", f"more than {most} bytes (ingest.max_bytes)")


def _check_rate(received: int, seconds: float, limits: BodyLimits) -> None:
    if seconds > limits.grace_s and received < limits.min_rate * seconds:
        words = f"less than {limits.min_rate:g} bytes a second (ingest.min_rate)"
        raise RefusedError("too_slow", words)


def _check_picture(head: bytes) -> None:
    if not head:
        raise RefusedError("empty_file", "0 bytes")
    found = sniffed(head)
    if (found is None or found in _WEAK) and not shows_image(head):
        start = head[:24].decode("ascii", "backslashreplace")
        raise RefusedError("not_an_image", f"it begins with {start!r}")


async def drained(response: ClientResponse, most: int) -> bytes:
    """The first bytes of a body of text, decoded; what follows is left.

    Raises:
        RefusedError: It is encoded in a way that is not known.
    """
    decoder, found = _decoder(response), bytearray()
    async for chunk in response.content.iter_any():
        for piece in (chunk,) if decoder is None else decoder.pieces(chunk):
            found += piece
            if len(found) >= most:
                return bytes(found[:most])
    return bytes(found)

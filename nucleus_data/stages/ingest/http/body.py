"""Reads a response body, with limits on size, rate and decompression, and checks for a picture.

Small bodies are held in memory, larger ones are written to a file at once, so that memory use
depends on the number of URLs in flight and not on the size of their bodies.
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
_WEAK = {"bmp", "jxl"}  # formats with too few magic bytes to be recognised by these alone


@dataclass(frozen=True)
class BodyLimits:
    """Limits on a body.

    Attributes:
        most: Maximum number of bytes, both as sent and decompressed.
        min_rate: Minimum rate, in bytes per second.
        grace_s: Seconds after which the rate is checked.
        folder: Folder for bodies that are too large for memory.
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
    """Reads a picture's bytes, as a list of pieces or a temporary file.

    Args:
        response: The response, after its headers.
        limits: Limits on the body.
        clock: Returns the time in seconds.
        heard: Called with the time whenever data arrives.

    Raises:
        RefusedError: It is too large, too slow, empty, in an unknown encoding, or not a picture.
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
    """Collects the pieces of a body; checks the first bytes, and moves large bodies to a file."""

    def __init__(self, limits: BodyLimits) -> None:
        self.file: IO[bytes] | None = None
        self._limits = limits
        self._pieces: list[bytes] = []
        self._size, self._looked = 0, False

    def add(self, piece: bytes) -> None:
        """Adds the next piece."""
        self._size += len(piece)
        _check_size(self._size, self._limits.most)
        if self.file is None:
            self._pieces.append(piece)
            if len(self._pieces) > MOST_PIECES:  # many tiny pieces: join them
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
        """Returns the whole body."""
        if not self._looked:
            self._look()
        return self._pieces if self.file is None else self.file

    def _look(self) -> None:
        self._looked = True
        first = self._pieces[0] if self._pieces else b""
        _check_picture((first if len(first) >= HEAD else b"".join(self._pieces))[:HEAD])


def _decoder(response: ClientResponse) -> "_Decoder | None":
    """Returns a decoder for the response's Content-Encoding; None if it has none."""
    name = response.headers.get("Content-Encoding", "").strip().lower()
    return None if name in ("", "identity") else _Decoder(name)


class _Decoder:
    """Undoes a Content-Encoding in small pieces. We ask for none, but some servers ignore that."""

    def __init__(self, name: str) -> None:
        if name in ("gzip", "x-gzip", "deflate"):
            self._zlib = zlib.decompressobj(32 + zlib.MAX_WBITS)
        else:
            raise RefusedError(
                "bad_encoding", f"Content-Encoding: {name[:100]}, though none was asked for"
            )

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """Decompresses a chunk, yielding small pieces whatever the compression ratio."""
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
        """Checks that the compressed data was complete. Raises RefusedError."""
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
    """Reads up to `most` bytes of a text body, decompressed; ignores the rest.

    Raises:
        RefusedError: It is in an unknown encoding.
    """
    decoder, found = _decoder(response), bytearray()
    async for chunk in response.content.iter_any():
        for piece in (chunk,) if decoder is None else decoder.pieces(chunk):
            found += piece
            if len(found) >= most:
                return bytes(found[:most])
    return bytes(found)

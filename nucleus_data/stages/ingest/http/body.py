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
from nucleus_data.stages.ingest.listing.formats import HEAD, shows_image, sniffed

IN_MEMORY = 1 << 20
PIECE = 1 << 16
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
) -> bytes | IO[bytes]:
    """A picture's bytes, or a file of them.

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
    decoder = _Decoder(response.headers.get("Content-Encoding", ""))
    started = clock()
    heard(started)
    received = size = 0
    head = b""
    pieces: list[bytes] = []
    file: IO[bytes] | None = None
    try:
        async for chunk in response.content.iter_any():
            received += len(chunk)
            _check_size(received, limits.most)
            now = clock()
            heard(now)
            _check_rate(received, now - started, limits)
            for piece in decoder.pieces(chunk):
                looked, size = size >= HEAD, size + len(piece)
                _check_size(size, limits.most)
                if not looked:
                    head = (head + piece)[:HEAD]
                    if size >= HEAD:
                        _check_picture(head)
                if file is None and size > IN_MEMORY:
                    file = TemporaryFile(dir=limits.folder)  # noqa: SIM115
                    file.writelines(pieces)
                    pieces.clear()
                if file is None:
                    pieces.append(piece)
                else:
                    file.write(piece)
        decoder.end()
        if size < HEAD:
            _check_picture(head)
    except BaseException:
        if file is not None:
            file.close()
        raise
    if file is None:
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    return file


class _Decoder:
    """Undoes a Content-Encoding in small pieces; we ask for none, but not everybody hears that."""

    def __init__(self, encoding: str) -> None:
        name = encoding.strip().lower()
        if name in ("", "identity"):
            self._zlib = None
        elif name in ("gzip", "x-gzip", "deflate"):
            self._zlib = zlib.decompressobj(32 + zlib.MAX_WBITS)
        else:
            raise RefusedError(
                "bad_encoding", f"Content-Encoding: {name[:100]}, though none was asked for"
            )

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """What a chunk holds, in pieces that are small however well it was packed."""
        if self._zlib is None:
            yield chunk
            return
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
        if self._zlib is not None and not self._zlib.eof:
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
    decoder, found = _Decoder(response.headers.get("Content-Encoding", "")), bytearray()
    async for chunk in response.content.iter_any():
        for piece in decoder.pieces(chunk):
            found += piece
            if len(found) >= most:
                return bytes(found[:most])
    return bytes(found)

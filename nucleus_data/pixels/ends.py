"""Handles files that end before their end marker, or before the size that their container states.

In every format, the missing part decides. If it contains pixels of the first frame, the file is
`TRUNCATED`, either here or when it is decoded. If all of these pixels are present (an end marker, a
metadata chunk, a later frame or page is cut off), the picture is read, and has `Header.truncated`.
If a decoder requires an end marker, one is added. (JPEG is handled by `jpeg`, GIF and TIFF by
`containers`; a BMP ends with its pixels.)
"""

from typing import NamedTuple

from nucleus_data.pixels.boxes import Box, boxes
from nucleus_data.pixels.errors import PixelError, Reason

END_OF_CODESTREAM = b"\xff\xd9"
MAX_CHUNKS = 2**16
_WITH_PIXELS = (b"VP8 ", b"VP8L", b"ALPH", b"ANMF")
_WHOLE_PICTURES = (b"VP8 ", b"VP8L", b"ANMF")
_BESIDES = (b"free", b"skip", b"uuid", b"xml ", b"jp2i", b"asoc", b"nlst")


class Readable(NamedTuple):
    """A file in a form that its decoder accepts.

    Attributes:
        data: The file's bytes, perhaps with an added end or without an incomplete part.
        truncated: Whether the file ends early.
    """

    data: bytes
    truncated: bool


def with_end(data: bytes, file_format: str) -> Readable:
    """Checks the end of a file, and completes it if no pixels are missing.

    Args:
        data: The whole file.
        file_format: The format, as from `sniff`.

    Raises:
        PixelError: TRUNCATED, if pixels are missing; TOO_COSTLY.
    """
    if file_format == "webp":
        return _webp(data)
    if file_format in ("avif", "heif"):
        return _boxed(data)
    if file_format == "jp2":
        return _jp2(data)
    if file_format == "png":
        return Readable(data, not _png_ends(data))
    return Readable(data, False)


def _truncated(data: bytes, promised: int) -> PixelError:
    return PixelError(Reason.TRUNCATED, f"{len(data)} bytes, its container says {promised}")


def _png_ends(data: bytes) -> bool:
    """Returns whether a complete IEND chunk exists.

    Also returns True for a file without any chunk, which is damaged and not truncated.
    """
    at, chunks = 8, False
    for _ in range(MAX_CHUNKS):
        if at + 12 > len(data):
            return not chunks
        if data[at + 4 : at + 8] == b"IEND":
            return True
        chunks = chunks or data[at + 4 : at + 8].isalpha()
        at += int.from_bytes(data[at : at + 4], "big") + 12
    return True  # `containers` rejects the file as too costly


def _webp(data: bytes) -> Readable:
    """Removes the incomplete last chunk of a WebP, if the chunks before it contain a picture."""
    promised = int.from_bytes(data[4:8], "little") + 8
    if promised <= len(data):
        return Readable(data, False)
    at, kept, pictures = 12, 12, 0
    for _ in range(MAX_CHUNKS):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + size > len(data) or len(data) < at + 8:
            break
        pictures += kind in _WHOLE_PICTURES
        at += 8 + size
        kept, at = at, at + size % 2
    cut = data[kept + kept % 2 :][:4]
    if not pictures or (cut in _WITH_PIXELS and cut != b"ANMF"):
        raise _truncated(data, promised)
    whole = data[:kept] + bytes(kept % 2)
    return Readable(b"RIFF" + (len(whole) - 8).to_bytes(4, "little") + whole[8:], True)


def _cut_box(data: bytes) -> Box | None:
    """Returns the box that extends beyond the end of the file; None if there is none."""
    return next((box for box in boxes(data) if box.end > len(data)), None)


def _boxed(data: bytes) -> Readable:
    """Removes the incomplete last box of an AVIF or HEIF, if it is not part of the picture."""
    cut = _cut_box(data)
    if cut is None:
        return Readable(data, False)
    if cut.kind not in _BESIDES:
        raise _truncated(data, cut.end)
    return Readable(data[: cut.start], True)


def _jp2(data: bytes) -> Readable:
    """Completes a JPEG 2000 in which only the end marker, or a box behind it, is incomplete."""
    if data.startswith(b"\xff\x4f"):
        if data.endswith(END_OF_CODESTREAM):
            return Readable(data, False)
        return Readable(_with_marker(data), True)
    cut = _cut_box(data)
    if cut is None:
        return Readable(data, False)
    if cut.kind in _BESIDES:
        return Readable(data[: cut.start], True)
    # OpenJPEG detects whether more than the marker is missing.
    ended = _with_marker(data)
    if cut.kind != b"jp2c" or len(ended) != cut.end:
        raise _truncated(data, cut.end)
    return Readable(ended, True)


def _with_marker(data: bytes) -> bytes:
    half = data.endswith(END_OF_CODESTREAM[:1])
    return data + END_OF_CODESTREAM[half:]

"""Files that end before their own end: an end marker, or the size that their container tells.

What is missing decides. If it must hold pixels of the first frame, the file is `TRUNCATED`, here or
when it is decoded. If all of these are there (an end marker, a chunk of metadata, a later frame or
page is cut off), the picture is read as it is, and `Header.truncated` says so: in every format.
Where a decoder insists on the end, it gets one. (`jpeg` and `containers` tell of JPEG, GIF and
TIFF themselves; a BMP ends with its pixels.)
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
    """A file as a decoder wants it.

    Attributes:
        data: Its bytes, perhaps with an end.
        truncated: Whether it ends early.
    """

    data: bytes
    truncated: bool


def with_end(data: bytes, file_format: str) -> Readable:
    """Looks at the end of a file, and gives it one if it lacks nothing else.

    Args:
        data: The whole file.
        file_format: As `sniff` names it.

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
    """Whether there is a whole IEND chunk; or none at all, which is damage and no cut."""
    at, chunks = 8, False
    for _ in range(MAX_CHUNKS):
        if at + 12 > len(data):
            return not chunks
        if data[at + 4 : at + 8] == b"IEND":
            return True
        chunks = chunks or data[at + 4 : at + 8].isalpha()
        at += int.from_bytes(data[at : at + 4], "big") + 12
    return True  # `containers` says that it is too costly


def _webp(data: bytes) -> Readable:
    """A RIFF without the chunk that its end cuts, if the picture is in those before it."""
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
    """The box that the end of the file cuts; None if there is none."""
    return next((box for box in boxes(data) if box.end > len(data)), None)


def _boxed(data: bytes) -> Readable:
    """An ISO base media file without the last box, if this one holds no part of the picture."""
    cut = _cut_box(data)
    if cut is None:
        return Readable(data, False)
    if cut.kind not in _BESIDES:
        raise _truncated(data, cut.end)
    return Readable(data[: cut.start], True)


def _jp2(data: bytes) -> Readable:
    """A JPEG 2000 whose end-of-codestream marker alone may be missing, or a box behind it."""
    if data.startswith(b"\xff\x4f"):
        if data.endswith(END_OF_CODESTREAM):
            return Readable(data, False)
        return Readable(_with_marker(data), True)
    cut = _cut_box(data)
    if cut is None:
        return Readable(data, False)
    if cut.kind in _BESIDES:
        return Readable(data[: cut.start], True)
    # OpenJPEG finds out whether anything but the marker is missing.
    ended = _with_marker(data)
    if cut.kind != b"jp2c" or len(ended) != cut.end:
        raise _truncated(data, cut.end)
    return Readable(ended, True)


def _with_marker(data: bytes) -> bytes:
    half = data.endswith(END_OF_CODESTREAM[:1])
    return data + END_OF_CODESTREAM[half:]

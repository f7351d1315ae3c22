"""Checks a file's container before a decoder reads it, to bound the decoder's time and memory.

Pillow's readers trust the numbers in a header: they visit a million GIF frames to count them, copy
a TIFF tag with a false length ten thousand times, and decode run-length coded BMP byte by byte in
Python. The bounds here are far above what encoders write, and keep the time for opening a file
below a second.
"""

import struct
import zlib
from typing import NamedTuple

from nucleus_data.pixels.ends import with_end
from nucleus_data.pixels.errors import PixelError, Reason

MAX_PNG_CHUNKS = 2**16
MAX_GIF_BLOCKS = 2**20
MAX_TIFF_PAGES = 10_000
MAX_TIFF_VALUES = 2**18
MAX_TIFF_PART_BYTES = 2**28
MAX_BMP_RUN_BYTES = 2**21

# Bytes per value of each TIFF field type (TIFF 6.0 specification, section 2; 16 to 18: BigTIFF).
_TIFF_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TIFF_BYTES |= {16: 8, 17: 8, 18: 8}
_TIFF_BLOBS = (1, 2, 6, 7)
# Tag -> default of width, height, bits, compression, samples, rows per strip, and a tile's width
# and height.
_TIFF_SIZES = {256: 0, 257: 0, 258: 1, 259: 1, 277: 1, 278: 2**32 - 1, 322: 0, 323: 0}


class Prepared(NamedTuple):
    """A file that has passed the checks.

    Attributes:
        data: The bytes for the decoder.
        frames: Number of frames or pages; None if the decoder knows it from the header.
        truncated: Whether the file ends early; all pixels of its first frame may be present
            nevertheless.
    """

    data: bytes
    frames: int | None
    truncated: bool


def prepare(data: bytes, file_format: str) -> Prepared:
    """Checks a file; extracts the first frame of a GIF.

    Args:
        data: The whole file.
        file_format: The format, as from `sniff`.

    Raises:
        PixelError: TOO_COSTLY, TRUNCATED or CORRUPT.
    """
    if file_format == "gif":
        return first_gif_frame(data)
    if file_format == "tiff":
        pages, truncated = check_tiff(data)
        return Prepared(data, pages, truncated)
    if file_format == "png":
        png_data_chunks(data)
    elif file_format == "bmp":
        _check_bmp(data)
    readable = with_end(data, file_format)
    return Prepared(readable.data, None, readable.truncated)


def first_gif_frame(data: bytes) -> Prepared:
    """Makes a GIF of only the first frame, without comments, and counts all frames.

    Args:
        data: The whole file.

    Raises:
        PixelError: TRUNCATED or CORRUPT if there is no frame; TOO_COSTLY for more than
            `MAX_GIF_BLOCKS` blocks (about 250 MB if they are full).
    """
    if len(data) < 13:
        raise PixelError(Reason.TRUNCATED, "the file ends in its header")
    at = 13 + _gif_colours(data[10])
    head, control, first = data[:at], b"", b""
    frames, blocks = 0, 0
    while at < len(data) and data[at] != 0x3B:
        start, kind = at, data[at : at + 2]
        if kind[0] == 0x21:  # an extension: its label, then blocks
            at += 2
        elif kind[0] == 0x2C:  # a frame: position, optional colours, code size, then blocks
            at += 11 + (_gif_colours(data[at + 9]) if at + 9 < len(data) else 0)
        else:
            at += 1
            blocks += 1
            continue
        while at < len(data) and data[at]:
            at += data[at] + 1
            blocks += 1
            if blocks > MAX_GIF_BLOCKS:
                raise PixelError(Reason.TOO_COSTLY, f"more than {MAX_GIF_BLOCKS} blocks")
        at += 1
        if kind[0] == 0x2C:
            frames += 1
            first = first or control + data[start:at]
        elif kind == b"\x21\xf9":
            control = data[start:at]
    if not first:
        ended = at < len(data)
        raise PixelError(Reason.CORRUPT if ended else Reason.TRUNCATED, "a GIF without a frame")
    ended = at <= len(data) or frames > 1
    return Prepared(head + first + (b";" if ended else b""), frames, at >= len(data))


def _gif_colours(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def png_data_chunks(data: bytes) -> list[tuple[int, int]]:
    """Returns (begin, end) offsets of the IDAT chunks' bodies, up to IEND or the end of the file.

    Raises:
        PixelError: TOO_COSTLY, for more than `MAX_PNG_CHUNKS` chunks.
    """
    bodies: list[tuple[int, int]] = []
    at = 8
    for _ in range(MAX_PNG_CHUNKS):
        if at + 12 > len(data):
            return bodies
        (length,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        if kind == b"IEND":
            return bodies
        if kind == b"IDAT":
            bodies.append((at + 8, at + 8 + length))
        at += length + 12
    raise PixelError(Reason.TOO_COSTLY, f"more than {MAX_PNG_CHUNKS} chunks")


def check_png_data(data: bytes) -> None:
    """Verifies the checksums of a PNG's coded pixels, which Pillow ignores.

    An incomplete last chunk is left to the decoder.

    Raises:
        PixelError: DAMAGED_DATA.
    """
    view = memoryview(data)
    for start, end in png_data_chunks(data):
        if end + 4 > len(data):
            return
        if zlib.crc32(view[start - 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise PixelError(Reason.DAMAGED_DATA, f"the checksum of IDAT at {start - 8} is wrong")


def check_tiff(data: bytes) -> tuple[int, bool]:
    """Counts the pages of a TIFF, and checks the tags of its first page.

    Args:
        data: The whole file.

    Returns:
        The number of pages, at most `MAX_TIFF_PAGES`; and whether the file ends early, that is,
        whether a tag of the first page, or another page, is beyond its end.

    Raises:
        PixelError: TOO_COSTLY, if a tag of the first page has more than `MAX_TIFF_VALUES` numbers,
            if its tags have more than twice the file's bytes in all (and more than 1 MiB), or if a
            strip or tile has more than `MAX_TIFF_PART_BYTES`.
    """
    order = "<" if data.startswith(b"II") else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    offset, count, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    try:
        (at,) = struct.unpack_from(order + offset, data, 8 if big else 4)
        truncated = _check_tiff_tags(data, at, order, big)
    except (struct.error, OverflowError):  # offsets beyond the end, which the decoder reports
        return 1, True
    seen: set[int] = set()
    while at and at not in seen and len(seen) < MAX_TIFF_PAGES:
        try:
            (entries,) = struct.unpack_from(order + count, data, at)
            after = at + struct.calcsize("<" + count) + entries * entry
            following = struct.unpack_from(order + offset, data, after)[0]
        except (struct.error, OverflowError):
            following, truncated = 0, True
        seen.add(at)
        at = following
    return max(1, len(seen)), truncated


def _check_tiff_tags(data: bytes, at: int, order: str, big: bool) -> bool:
    """Rejects a page whose tags have more values than a picture needs.

    Returns:
        Whether a tag extends beyond the end of the file.
    """
    head, layout, within = ("Q", "HHQQ", 8) if big else ("H", "HHII", 4)
    (entries,) = struct.unpack_from(order + head, data, at)
    at += struct.calcsize("<" + head)
    step = struct.calcsize("<" + layout)
    read = 0
    sizes: dict[int, int] = {}
    cut = False
    for place in range(at, min(at + entries * step, len(data) - step + 1), step):
        tag, kind, values, start = struct.unpack_from(order + layout, data, place)
        size = values * _TIFF_BYTES.get(kind, 0)
        if tag in _TIFF_SIZES and kind in (3, 4) and values:
            where = place + step - within if size <= within else start
            sizes[tag] = struct.unpack_from(order + "HI"[kind - 3], data, where)[0]
        if size <= within:
            continue
        available = max(0, len(data) - start)  # a tag is read up to the end of the file
        read += min(size, available)
        cut = cut or size > available
        if kind not in _TIFF_BLOBS and size <= available and values > MAX_TIFF_VALUES:
            raise PixelError(Reason.TOO_COSTLY, f"tag {tag} holds {values} numbers")
        if read > max(2 * len(data), 2**20):
            raise PixelError(Reason.TOO_COSTLY, f"tags hold {read} bytes of a file of {len(data)}")
    _check_tiff_parts(sizes)
    return cut


def _check_tiff_parts(sizes: dict[int, int]) -> None:
    """Rejects oversized strips or tiles, whose memory does not depend on the picture's size."""
    width, height, bits, coding, samples, rows, tile_width, tile_height = (
        sizes.get(tag, missing) for tag, missing in _TIFF_SIZES.items()
    )
    pixels = tile_width * tile_height or width * min(rows, height)
    part = pixels * samples * bits // 8
    if coding != 1 and part > MAX_TIFF_PART_BYTES:
        raise PixelError(Reason.TOO_COSTLY, f"a strip or tile of {part} bytes")


def _check_bmp(data: bytes) -> None:
    """Rejects large run-length coded files (compression 1 and 2), which decode at about 2 MB/s."""
    if len(data) >= 34 and int.from_bytes(data[14:18], "little") >= 40:
        compression = int.from_bytes(data[30:34], "little")
        if compression in (1, 2) and len(data) > MAX_BMP_RUN_BYTES:
            raise PixelError(
                Reason.TOO_COSTLY,
                f"run-length coded, {len(data)} bytes, allowed {MAX_BMP_RUN_BYTES}",
            )


def webp_size(data: bytes) -> tuple[int, int] | None:
    """Returns width and height from a WebP's first chunk, before the decoder allocates memory.

    Returns:
        None if the chunk can't be parsed; the decoder then reports the error.
    """
    kind, body = data[12:16], data[20:30]
    if len(body) < 10:
        return None
    if kind == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", body, 6)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return None

"""What is checked in a container before a decoder gets it.

Pillow's readers trust what a header counts: they walk a million GIF frames to number them, copy a
TIFF tag that lies about its length ten thousand times, and decode run-length BMP byte by byte in
Python. Each bound here is far above what encoders write, and keeps opening below a second.
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

# Bytes of each TIFF field type; 6.0 specification, section 2, and BigTIFF's 16 to 18.
_TIFF_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TIFF_BYTES |= {16: 8, 17: 8, 18: 8}
_TIFF_BLOBS = (1, 2, 6, 7)
# Width, height, bits, compression, samples, rows in a strip, a tile's width and height: defaults.
_TIFF_SIZES = {256: 0, 257: 0, 258: 1, 259: 1, 277: 1, 278: 2**32 - 1, 322: 0, 323: 0}


class Prepared(NamedTuple):
    """A file that may be given to its decoder.

    Attributes:
        data: What the decoder should get.
        frames: The number of frames or pages; None where the decoder knows it from the header.
        truncated: Whether the file ends early, though all pixels of its first frame may be there.
    """

    data: bytes
    frames: int | None
    truncated: bool


def prepare(data: bytes, file_format: str) -> Prepared:
    """Checks a file, and takes its first frame out where counting frames is a container's affair.

    Args:
        data: The whole file.
        file_format: As `sniff` names it.

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
    """A GIF of the first frame alone, without comments, and how many frames there are.

    Raises:
        PixelError: TRUNCATED or CORRUPT if there is no frame; TOO_COSTLY above `MAX_GIF_BLOCKS`
            blocks (some 250 MB of full ones).
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
        elif kind[0] == 0x2C:  # a frame: its place, perhaps colours, the size of a code, blocks
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
    """Where the IDAT chunks' bodies begin and end, up to IEND or the end of the file.

    Raises:
        PixelError: TOO_COSTLY, above `MAX_PNG_CHUNKS` chunks.
    """
    found: list[tuple[int, int]] = []
    at = 8
    for _ in range(MAX_PNG_CHUNKS):
        if at + 12 > len(data):
            return found
        (length,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        if kind == b"IEND":
            return found
        if kind == b"IDAT":
            found.append((at + 8, at + 8 + length))
        at += length + 12
    raise PixelError(Reason.TOO_COSTLY, f"more than {MAX_PNG_CHUNKS} chunks")


def check_png_data(data: bytes) -> None:
    """Compares the checksums of the coded pixels, which Pillow passes over.

    A chunk that the file's end cuts is left to the decoder.

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
    """The number of pages of a TIFF, at most `MAX_TIFF_PAGES`, and whether it ends early.

    It does if a tag of the first page, or another page, lies behind its end.

    Raises:
        PixelError: TOO_COSTLY, if a tag of the first page holds more than `MAX_TIFF_VALUES`
            numbers, all together more bytes than twice the file, or a strip or tile is above
            `MAX_TIFF_PART_BYTES`.
    """
    order = "<" if data.startswith(b"II") else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    offset, count, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    try:
        (at,) = struct.unpack_from(order + offset, data, 8 if big else 4)
        truncated = _check_tiff_tags(data, at, order, big)
    except (struct.error, OverflowError):  # places behind the end; the decoder says so
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
    """Refuses a page whose tags count more values than a picture needs; whether one is cut off."""
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
        there = max(0, len(data) - start)  # a tag that leaves the file is read up to its end
        read += min(size, there)
        cut = cut or size > there
        if kind not in _TIFF_BLOBS and size <= there and values > MAX_TIFF_VALUES:
            raise PixelError(Reason.TOO_COSTLY, f"tag {tag} holds {values} numbers")
        if read > max(2 * len(data), 2**20):
            raise PixelError(Reason.TOO_COSTLY, f"tags hold {read} bytes of a file of {len(data)}")
    _check_tiff_parts(sizes)
    return cut


def _check_tiff_parts(sizes: dict[int, int]) -> None:
    """Bounds a strip or tile: it is decoded into memory of its own, whatever the picture's size."""
    width, height, bits, coding, samples, rows, tile_width, tile_height = (
        sizes.get(tag, missing) for tag, missing in _TIFF_SIZES.items()
    )
    pixels = tile_width * tile_height or width * min(rows, height)
    part = pixels * samples * bits // 8
    if coding != 1 and part > MAX_TIFF_PART_BYTES:
        raise PixelError(Reason.TOO_COSTLY, f"a strip or tile of {part} bytes")


def _check_bmp(data: bytes) -> None:
    """Bounds run-length coded files (compression 1 and 2): they are decoded at some 2 MB/s."""
    if len(data) >= 34 and int.from_bytes(data[14:18], "little") >= 40:
        compression = int.from_bytes(data[30:34], "little")
        if compression in (1, 2) and len(data) > MAX_BMP_RUN_BYTES:
            raise PixelError(
                Reason.TOO_COSTLY,
                f"run-length coded, {len(data)} bytes, allowed {MAX_BMP_RUN_BYTES}",
            )


def webp_size(data: bytes) -> tuple[int, int] | None:
    """Width and height by the first chunk; the decoder claims memory for them at once.

    Returns:
        None if there is nothing to be read; the decoder then says why.
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

"""Parses the structure of a JPEG: its header and scans, and how to copy it without metadata.

Pillow's parser is not used, since it takes minutes for a file with a million empty segments, and
since strict decoding must not stop at harmless irregularities between the header's segments.
"""

import re
import struct
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from nucleus_data.pixels.errors import PixelError, Reason

# Maximum number of segments before the pixels; a profile of 16 MB needs 256.
MAX_SEGMENTS = 4096
MAX_STRAY = 2**20
# Maximum of scans times pixels: decoding each scan of a progressive file visits all coefficients,
# however few bytes it has. Encoders write 1 to 12 scans, optimisers up to about 30.
MAX_SCANNED = 2**30
MAX_SCANS = 512

# Fill bytes (0xff) may precede a marker. There is no quantifier for them, as searching a long run
# would take quadratic time.
_MARKER = re.compile(rb"\xff([^\x00\xff])")
_SCAN_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
_PADDING = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL = frozenset({0xC0, 0xC1})
_NO_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_TABLES = frozenset({0xC4, 0xCC, 0xDB, 0xDD})
_DQT = 0xDB
_SOI, _EOI, _SOS, _APP0, _APP1, _APP2, _APP14 = 0xD8, 0xD9, 0xDA, 0xE0, 0xE1, 0xE2, 0xEE
EOI = b"\xff\xd9"
_MODES = {1: "L", 3: "RGB", 4: "CMYK"}
_JFIF = b"\xff\xe0\x00\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0"


class _Frame(NamedTuple):
    width: int
    height: int
    mode: str
    components: bytes  # number of components, as one byte
    table: int  # number of the first component's quantisation table
    sequential: bool


class JpegHeader(NamedTuple):
    """The part of a JPEG before its pixels.

    Attributes:
        width: Stored width in pixels.
        height: Stored height in pixels.
        mode: L, RGB or CMYK, by the number of components.
        exif: EXIF block, or None.
        icc: Colour profile, or None.
        quantisation: Quantisation table of the first component, 64 factors of one or two bytes, in
            zigzag order; None if it is missing.
        sequential: Whether each scan has complete components, that is, is not progressive.
        one_scan: Whether the first scan contains all components.
        core: The part of the file before the first scan, without metadata.
        scan: Offset of the first scan's marker; `core + data[scan:]` is the same picture.
        truncated: Whether the file has no end marker; all pixels may be present nevertheless.
    """

    width: int
    height: int
    mode: str
    exif: bytes | None
    icc: bytes | None
    quantisation: bytes | None
    sequential: bool
    one_scan: bool
    core: bytes
    scan: int
    truncated: bool


def read_jpeg_header(data: bytes) -> JpegHeader:
    """Parses a JPEG up to its first scan; skips stray bytes between segments, as decoders do.

    Args:
        data: The whole file.

    Raises:
        PixelError: TRUNCATED, CORRUPT, UNSUPPORTED_MODE (depth other than 8 bits, or other than 1,
            3 or 4 components), or TOO_COSTLY (more than `MAX_SEGMENTS` or `MAX_STRAY`).
    """
    at, stray = 2, MAX_STRAY
    frame: _Frame | None = None
    tables = b""
    exif: bytes | None = None
    profile: dict[int, bytes] = {}
    core = [b"\xff\xd8"]
    for _ in range(MAX_SEGMENTS):
        start = data[at : at + 4]
        if len(start) == 4 and start[0] == 0xFF and 0 < start[1] < 0xFF:  # the usual case
            marker, at = start[1], at + 2
        else:
            found = _MARKER.search(data, at, at + stray)
            if found is None:
                if at + stray < len(data):
                    raise PixelError(Reason.TOO_COSTLY, f"more than {MAX_STRAY} stray bytes")
                raise PixelError(Reason.TRUNCATED, "the file ends in its header")
            stray -= found.end() - at - 2
            marker, at = found[1][0], found.end()
        if marker in _NO_LENGTH:
            continue
        if marker in (_SOI, _EOI):
            raise PixelError(Reason.CORRUPT, f"marker 0x{marker:02x} before any pixel")
        if marker == _SOS:
            if frame is None:
                raise PixelError(Reason.CORRUPT, "a scan before the frame's header")
            return JpegHeader(
                frame.width,
                frame.height,
                frame.mode,
                exif,
                icc=b"".join(profile[key] for key in sorted(profile)) or None,
                quantisation=_quantisation(tables, frame.table),
                sequential=frame.sequential,
                one_scan=frame.sequential and data[at + 2 : at + 3] == frame.components,
                core=b"".join(core),
                scan=at - 2,
                truncated=_ends_early(data, at - 2),
            )
        end = at + int.from_bytes(data[at : at + 2], "big")
        if len(data) < at + 2:
            raise PixelError(Reason.TRUNCATED, "the file ends in its header")
        if end < at + 2:
            raise PixelError(Reason.CORRUPT, f"segment 0x{marker:02x} of no length")
        if end > len(data):
            raise PixelError(Reason.TRUNCATED, "the file ends in its header")
        body = data[at + 2 : end]
        if marker in _TABLES or marker in _SOF or (marker == _APP14 and body[:5] == b"Adobe"):
            core.append(data[at - 2 : end])
            if marker == _DQT:
                tables += body
            elif marker in _SOF:
                frame = _read_frame(body, marker)
        elif marker == _APP0 and body[:5] == b"JFIF\0":
            core.append(_JFIF)  # a standard one, as strict decoding fails for unknown versions
        elif marker == _APP1 and exif is None and body[:6] == b"Exif\0\0":
            exif = body
        elif marker == _APP2 and body[:12] == b"ICC_PROFILE\0" and len(body) > 14:
            profile.setdefault(body[12], body[14:])
        at = end
    raise PixelError(Reason.TOO_COSTLY, f"more than {MAX_SEGMENTS} segments before the pixels")


@lru_cache(maxsize=256)  # most files are written by a few programs
def _quantisation(tables: bytes, number: int) -> bytes | None:
    """Returns the last quantisation table with a number; None if there is none."""
    table = None
    while tables:
        length = 1 + (128 if tables[0] >> 4 else 64)
        if tables[0] & 15 == number and len(tables) >= length:
            table = tables[1:length]
        tables = tables[length:]
    return table


def _read_frame(body: bytes, marker: int) -> _Frame:
    """Parses a frame header, given the segment's body and marker."""
    if len(body) < 6:
        raise PixelError(Reason.CORRUPT, "a frame header that is too short")
    bits, height, width, components = struct.unpack_from(">BHHB", body)
    if bits != 8 or components not in _MODES:
        raise PixelError(Reason.UNSUPPORTED_MODE, f"{components} components of {bits} bits")
    # A header that is too short is left for the decoder to reject; no table has the number -1.
    table = body[8] if len(body) >= 9 else -1
    return _Frame(width, height, _MODES[components], body[5:6], table, marker in _SEQUENTIAL)


def check_scans(data: bytes, header: JpegHeader) -> None:
    """Rejects a picture with so many scans that decoding it would take minutes.

    Args:
        data: The whole file.
        header: Its header.

    Raises:
        PixelError: TOO_COSTLY.
    """
    if header.one_scan:  # decoders ignore any other scan
        return
    allowed = min(MAX_SCANS, max(32, MAX_SCANNED // max(1, header.width * header.height)))
    coded = np.frombuffer(data, np.uint8, offset=header.scan)
    markers = (coded[:-1] == 0xFF) & (coded[1:] == _SOS)  # eight times as fast as bytes.count
    if np.count_nonzero(markers) <= allowed:  # the usual case
        return
    at = header.scan
    for scans in range(allowed + 2):
        at = _next_scan(data, at)
        if at < 0:
            return
        if scans > allowed:
            break
    raise PixelError(Reason.TOO_COSTLY, f"more than {allowed} scans")


def _next_scan(data: bytes, at: int) -> int:
    """Returns the offset behind the next scan's header; -1 at the end of the picture."""
    for _ in range(MAX_SEGMENTS):
        found = _SCAN_MARKER.search(data, at)
        if found is None or found[1][0] == _EOI:
            return -1
        at = found.end()
        if found[1][0] != 0x01:
            at += int.from_bytes(data[at : at + 2], "big")
        if found[1][0] == _SOS:
            return at
    raise PixelError(Reason.TOO_COSTLY, f"more than {MAX_SEGMENTS} segments between two scans")


def _ends_early(data: bytes, at: int) -> bool:
    """Returns whether the end marker is missing, given the offset of the first scan's marker."""
    if data.endswith(EOI):
        return False
    for _ in range(MAX_SEGMENTS):
        found = _SCAN_MARKER.search(data, at)
        if found is None:
            return True
        if found[1][0] == _EOI:
            return False
        at = found.end()
        if found[1][0] != 0x01:
            at += int.from_bytes(data[at : at + 2], "big")
    return False


def check_cut(data: bytes, header: JpegHeader) -> None:
    """Rejects a JPEG without an end marker if whole scans may be missing, or may be zeros.

    A progressive picture that ends between two scans decodes without an error, to a coarser
    picture. So does one with a tail of zeros, from blocks of the disk that were never written.

    Args:
        data: The whole file.
        header: Its header.

    Raises:
        PixelError: TRUNCATED.
    """
    if data.endswith(b"\0\0"):
        raise PixelError(Reason.TRUNCATED, "no end marker, but zeros")
    missing = {(part, k) for part in _scanned(header.core) for k in range(64)}
    at = header.scan
    for _ in range(MAX_SCANS):
        following = _next_scan(data, at)
        if not 0 < following <= len(data):  # no further scan, or its header is incomplete
            break
        # `following` is the end of the scan's header, which has two bytes per component: its name
        # and the numbers of its tables.
        bits = data[following - 1] & 15
        first, last = data[following - 3], data[following - 2]
        scan = data.rfind(b"\xff\xda", at, following)
        parts = data[scan + 5 : following - 3 : 2]
        if not header.sequential:
            missing -= {(part, k) for part in parts for k in range(first, last + 1) if not bits}
        else:
            missing -= {(part, k) for part in parts for k in range(64)}
        at = following
    if missing:
        raise PixelError(Reason.TRUNCATED, "no end marker, and scans are missing")


def _scanned(core: bytes) -> list[int]:
    """Returns the names of the components in the frame header."""
    at = 2
    while at + 4 <= len(core):
        end = at + 2 + int.from_bytes(core[at + 2 : at + 4], "big")
        if core[at + 1] in _SOF:
            return list(core[at + 10 : end : 3])
        at = end
    return []


def without_padding(data: bytes, scan: int, message: str) -> bytes | None:
    """Removes zeros between the coded data and the end marker, which some cameras write.

    Args:
        data: The whole file.
        scan: Offset of its first scan.
        message: libjpeg-turbo's error message.

    Returns:
        The file without these bytes; None if the error is another, or the bytes are not all zero.
    """
    match = _PADDING.search(message)
    end = data.find(b"\xff\xd9", scan)
    if match is None or end < 0:
        return None
    start = end - int(match[1])
    if start < scan or data[start:end].strip(b"\0"):
        return None
    return data[:start] + data[end:]

"""Holes in a JPEG: zeros where coded pixels were, which decoders show as something.

A lost sector, or a part of a download that never came, is a run of zero bytes. If it happens to
give as many blocks as were lost, libjpeg-turbo decodes it without a warning, and all that follows
in another shade. But under most Huffman tables 128 zero bits say what no encoder says. The all-zero
code is that of a table's first symbol. Where this is a coefficient (in the luma table of ITU-T
T.81, annex K.3, one of -1 without a zero before it), each of some 40 coefficients in a row would be
the same. Where it is the end of a block, zeros are flat blocks, and prove nothing.
"""

import re

import numpy as np

from nucleus_data.pixels.errors import PixelError, Reason
from nucleus_data.pixels.jpeg import MAX_SEGMENTS

HOLE = 16  # bytes
_RUN = re.compile(rb"\0{%d,}" % HOLE)
_WORD = 8  # a run of 15 bytes or more holds one that is aligned
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
_DHT, _SOS, _EOI, _TEM = 0xC4, 0xDA, 0xD9, 0x01
_AC = 0x10  # in the first byte of a table: its class
_SIZE = 0x0F  # of a symbol: the bits of the coefficient that follows; none in ends and zero runs
_BAND = 5  # coefficients of a scan's band; in a narrower one, blocks of a pattern may be alike


def check_holes(data: bytes, core: bytes, scan: int) -> None:
    """Refuses a picture with a run of zeros in its coded data that can't be pixels.

    Zeros before the end of the picture are padding, as some cameras write.

    Args:
        data: The file.
        core: What stands before its pixels, without metadata, as in `JpegHeader`.
        scan: Where its first scan's marker is.

    Raises:
        PixelError: DAMAGED_DATA.
    """
    words = np.frombuffer(data, "<u8", (len(data) - scan) // _WORD, scan)
    if words.all() or data.find(bytes(HOLE), scan) < 0:  # nearly every file
        return
    symbols, at = _first_symbols(core, 2), scan
    for _ in range(MAX_SEGMENTS):
        found = _MARKER.search(data, at)
        if found is None or found[1][0] == _EOI:
            return
        marker, start = found[1][0], found.end()
        at = start if marker == _TEM else start + int.from_bytes(data[start : start + 2], "big")
        if marker == _DHT:
            symbols |= _first_symbols(data[found.start() : at], 0)
        elif marker == _SOS and _codes_coefficients(data[start + 2 : at], symbols):
            end = _MARKER.search(data, at)
            run = _RUN.search(data, at, end.start() if end else len(data))
            padding = run and end and end[1][0] == _EOI and run.end() == end.start()
            if run and not padding:
                count = run.end() - run.start()
                raise PixelError(Reason.DAMAGED_DATA, f"{count} zero bytes at {run.start()}")


def _first_symbols(segments: bytes, at: int) -> dict[int, int]:
    """The symbol of each Huffman table's all-zero code, by the table's class and number."""
    symbols = {}
    while at + 4 <= len(segments):
        end = at + 2 + int.from_bytes(segments[at + 2 : at + 4], "big")
        if segments[at + 1] == _DHT:
            body = segments[at + 4 : end]
            while len(body) > 17:
                symbols[body[0]] = body[17]
                body = body[17 + sum(body[1:17]) :]
        at = end
    return symbols


def _codes_coefficients(scan: bytes, symbols: dict[int, int]) -> bool:
    """Whether zero bits are coefficients in this scan, given its header behind the length."""
    parts = scan[0] if scan else 0
    if len(scan) < 2 * parts + 4:
        return False
    first, last, bits = scan[2 * parts + 1 : 2 * parts + 4]
    # Of a second pass (bits > 15), most bits refine coefficients that are there, and may be 0.
    if last - first + 1 < _BAND or bits > 15:
        return False
    tables = (_AC | scan[2 * part + 2] & 15 for part in range(parts))
    return any(symbols.get(table, 0) & _SIZE for table in tables)

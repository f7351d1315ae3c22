"""Detects holes in a JPEG: zeros in place of coded pixels, which decoders may accept.

A lost disk sector, or a missing part of a download, becomes a run of zero bytes. If the run happens
to decode to as many blocks as were lost, libjpeg-turbo gives no warning, and all following blocks
have a wrong shade. But with most Huffman tables, no encoder writes 128 zero bits. The all-zero code
is that of a table's first symbol. If that is a coefficient (in the luma table of ITU-T T.81, annex
K.3, it is -1 without preceding zeros), about 40 consecutive coefficients would be equal. If it is
the end of a block, zeros are flat blocks, and prove nothing.
"""

import re

import numpy as np

from nucleus_data.pixels.errors import PixelError, Reason
from nucleus_data.pixels.jpeg import MAX_SEGMENTS

HOLE = 16  # minimum length in bytes
_RUN = re.compile(rb"\0{%d,}" % HOLE)
_WORD = 8  # bytes; every run of 15 bytes or more contains an aligned word
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
_DHT, _SOS, _EOI, _TEM = 0xC4, 0xDA, 0xD9, 0x01
_AC = 0x10  # class of a table, in its first byte
_SIZE = 0x0F  # a symbol's number of bits of the next coefficient; 0 in ends of blocks and zero runs
_BAND = 5  # minimum coefficients in a scan's band; in a narrower one, blocks may be equal


def check_holes(data: bytes, core: bytes, scan: int) -> None:
    """Rejects a picture with a run of zeros in its coded data that can't be pixels.

    Zeros directly before the end marker are padding, which some cameras write.

    Args:
        data: The whole file.
        core: The part before the pixels, without metadata, as in `JpegHeader`.
        scan: Offset of the first scan's marker.

    Raises:
        PixelError: DAMAGED_DATA.
    """
    words = np.frombuffer(data, "<u8", (len(data) - scan) // _WORD, scan)
    if words.all() or data.find(bytes(HOLE), scan) < 0:  # the case for nearly every file
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
    """Returns the symbol of the all-zero code of each Huffman table, by its class and number."""
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
    """Returns whether zero bits mean coefficients in a scan.

    Args:
        scan: The scan's header, behind its length.
        symbols: From `_first_symbols`.
    """
    parts = scan[0] if scan else 0
    if len(scan) < 2 * parts + 4:
        return False
    first, last, bits = scan[2 * parts + 1 : 2 * parts + 4]
    # In a refinement scan (bits > 15), most bits refine existing coefficients, and may be 0.
    if last - first + 1 < _BAND or bits > 15:
        return False
    tables = (_AC | scan[2 * part + 2] & 15 for part in range(parts))
    return any(symbols.get(table, 0) & _SIZE for table in tables)

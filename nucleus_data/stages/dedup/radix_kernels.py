"""Inner loops that permute, partition and sort codes by their bits (radix sort); numba.

All release the interpreter's lock. A permuted code has the bits of each block (`blocks.Blocks`)
side by side, so that a block's value is one shift and one mask.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from nucleus_data.stages.dedup.codes import Codes


@njit(nogil=True, cache=True)
def permuted(code: np.uint64, table: Codes) -> np.uint64:
    """A code with its bits in other places; `table[byte, value]` says where a byte's bits go."""
    moved = np.uint64(0)
    for byte in range(8):
        moved |= table[byte, np.int64((code >> np.uint64(8 * byte)) & np.uint64(255))]
    return moved


@njit(nogil=True, cache=True)
def permute(codes: Codes, table: Codes, out: Codes) -> None:
    """`permuted` of each."""
    for i in range(len(codes)):
        out[i] = permuted(codes[i], table)


@njit(nogil=True, cache=True)
def count_parts(
    codes: Codes, table: Codes, shift: np.uint64, mask: np.uint64, counts: NDArray[np.int64]
) -> None:
    """How many codes have each value of a block."""
    for i in range(len(codes)):
        counts[np.int64((permuted(codes[i], table) >> shift) & mask)] += 1


@njit(nogil=True, cache=True)
def count_tops(codes: Codes, shift: np.uint64, counts: NDArray[np.int64]) -> None:
    """How many codes have each value of the bits from `shift` on."""
    for i in range(len(codes)):
        counts[np.int64(codes[i] >> shift)] += 1


@njit(nogil=True, cache=True)
def scatter_parts(
    codes: Codes,
    table: Codes,
    shift: np.uint64,
    mask: np.uint64,
    first: int,
    places: NDArray[np.int64],
    out: Codes,
) -> None:
    """Writes permuted codes by a block's value, of some values from `first` on.

    `places` says where each value's next one goes.
    """
    for i in range(len(codes)):
        code = permuted(codes[i], table)
        value = np.int64((code >> shift) & mask) - first
        if 0 <= value < len(places):
            out[places[value]] = code
            places[value] += 1


@njit(nogil=True, cache=True)
def scatter_with_places(
    codes: Codes,
    first: int,
    shift: np.uint64,
    places: NDArray[np.int64],
    out: Codes,
    out_places: NDArray[Any],
) -> None:
    """As `scatter_parts`, of unpermuted codes, with each one's own place (from `first` on)."""
    for i in range(len(codes)):
        value = np.int64(codes[i] >> shift)
        at = places[value]
        out[at] = codes[i]
        out_places[at] = first + i
        places[value] += 1


@njit(nogil=True, cache=True)
def sort_part(
    codes: Codes, places: NDArray[Any], bits: int, spare: Codes, spare_places: NDArray[Any]
) -> None:
    """Sorts codes by their lowest `bits`, stably, in place; a radix sort of 8 bits a pass."""
    n = len(codes)
    counts = np.empty(257, np.int64)
    for shift in range(0, bits, 8):
        counts[:] = 0
        for i in range(n):
            counts[np.int64((codes[i] >> np.uint64(shift)) & np.uint64(255)) + 1] += 1
        alone = False
        for value in range(257):
            alone = alone or counts[value] == n
        if alone:  # the same byte everywhere
            continue
        for value in range(256):
            counts[value + 1] += counts[value]
        for i in range(n):
            byte = np.int64((codes[i] >> np.uint64(shift)) & np.uint64(255))
            spare[counts[byte]] = codes[i]
            spare_places[counts[byte]] = places[i]
            counts[byte] += 1
        codes[:] = spare[:n]
        places[:] = spare_places[:n]


@njit(nogil=True, cache=True)
def locate(codes: Codes, starts: NDArray[np.int64], shift: np.uint64, wanted: Codes) -> Any:
    """Where each wanted code is among sorted ones; `starts` has the first place of each top."""
    found = np.empty(len(wanted), np.int64)
    for i in range(len(wanted)):
        code = wanted[i]
        top = np.int64(code >> shift)
        low, high = starts[top], starts[top + 1]
        while high - low > 1:
            middle = (low + high) >> 1
            if codes[middle] <= code:
                low = middle
            else:
                high = middle
        found[i] = low
    return found

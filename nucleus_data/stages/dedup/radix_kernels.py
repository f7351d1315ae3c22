"""numba kernels that permute, partition and sort codes by their bits (radix sort).

All of them release the GIL. In a permuted code, the bits of each block (`blocks.Blocks`) are
adjacent, so that reading a block's value takes one shift and one mask.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from nucleus_data.stages.dedup.codes import Codes


@njit(nogil=True, cache=True)
def permuted(code: np.uint64, table: Codes) -> np.uint64:
    """Permutes the bits of a code; `table[byte, value]` has a byte's bits in their new places."""
    moved = np.uint64(0)
    for byte in range(8):
        moved |= table[byte, np.int64((code >> np.uint64(8 * byte)) & np.uint64(255))]
    return moved


@njit(nogil=True, cache=True)
def permute(codes: Codes, table: Codes, out: Codes) -> None:
    """Permutes the bits of each code, uint64[N], into `out`."""
    for i in range(len(codes)):
        out[i] = permuted(codes[i], table)


@njit(nogil=True, cache=True)
def count_parts(
    codes: Codes, table: Codes, shift: np.uint64, mask: np.uint64, counts: NDArray[np.int64]
) -> None:
    """Adds to `counts` how many codes have each value in a block."""
    for i in range(len(codes)):
        counts[np.int64((permuted(codes[i], table) >> shift) & mask)] += 1


@njit(nogil=True, cache=True)
def count_tops(codes: Codes, shift: np.uint64, counts: NDArray[np.int64]) -> None:
    """Adds to `counts` how many codes have each value of the bits from `shift` on."""
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
    """Writes permuted codes to `out`, ordered by their value in a block.

    Only codes with the `len(places)` values from `first` on are written. `places` has the index in
    `out` of the next code of each value, and is updated.
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
    """Writes codes to `out` by their bits from `shift` on, and their indices to `out_places`.

    `first` is the index of the first code; `places` has the index in `out` of the next code of each
    value, and is updated.
    """
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
    """Sorts codes and their places by the lowest `bits`, stably and in place, 8 bits a pass."""
    n = len(codes)
    counts = np.empty(257, np.int64)
    for shift in range(0, bits, 8):
        counts[:] = 0
        for i in range(n):
            counts[np.int64((codes[i] >> np.uint64(shift)) & np.uint64(255)) + 1] += 1
        alone = False
        for value in range(257):
            alone = alone or counts[value] == n
        if alone:  # all codes have the same byte
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
    """Returns the index of each wanted code among sorted ones, by bisection.

    `starts` has the first index of each value of the bits from `shift` on.
    """
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

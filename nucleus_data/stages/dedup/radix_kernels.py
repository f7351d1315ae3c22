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
    """Permutes the bits of each code.

    Args:
        codes: uint64[N].
        table: The permutation, uint64[8, 256] (see `permuted`).
        out: Receives the permuted codes, uint64[N].
    """
    for i in range(len(codes)):
        out[i] = permuted(codes[i], table)


@njit(nogil=True, cache=True)
def count_parts(
    codes: Codes, table: Codes, shift: np.uint64, mask: np.uint64, counts: NDArray[np.int64]
) -> None:
    """Counts codes by their value in a block.

    Args:
        codes: Codes, not permuted, uint64[N].
        table: The permutation, uint64[8, 256].
        shift: Offset of the block in a permuted code from the lowest bit.
        mask: The block's bits after the shift.
        counts: The counts are added to it, int64[values].
    """
    for i in range(len(codes)):
        counts[np.int64((permuted(codes[i], table) >> shift) & mask)] += 1


@njit(nogil=True, cache=True)
def count_tops(codes: Codes, shift: np.uint64, counts: NDArray[np.int64]) -> None:
    """Counts codes by their highest bits.

    Args:
        codes: uint64[N].
        shift: The lowest one of these bits.
        counts: The counts are added to it, int64[values].
    """
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
    """Writes permuted codes, ordered by their value in a block; only those of a range of values.

    Args:
        codes: Codes, not permuted, uint64[N].
        table: The permutation, uint64[8, 256].
        shift: Offset of the block in a permuted code from the lowest bit.
        mask: The block's bits after the shift.
        first: The first one of the V values whose codes are written.
        places: Index in `out` of the next code of each of these values, int64[V]; updated.
        out: Receives the permuted codes.
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
    """Writes codes and their indices, ordered by their highest bits.

    Args:
        codes: uint64[N].
        first: The index of the first code.
        shift: The lowest one of the highest bits.
        places: Index in `out` of the next code of each value, int64[values]; updated.
        out: Receives the codes.
        out_places: Receives their indices.
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
    """Sorts codes by their lowest bits, stably and in place: a radix sort of 8 bits per pass.

    Args:
        codes: uint64[N].
        places: Their indices, which are sorted with them, [N].
        bits: Number of bits.
        spare: Scratch space, uint64[N].
        spare_places: Scratch space, of the type of `places`, [N].
    """
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
    """Returns the index of each wanted code among sorted ones, int64[P], by bisection.

    Args:
        codes: Sorted codes, uint64[N].
        starts: Index of the first code of each value of the highest bits, and N.
        shift: The lowest one of the highest bits.
        wanted: Codes that are among `codes`, uint64[P].
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

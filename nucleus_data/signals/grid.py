"""A picture as a square of averages, its lowest frequencies and its likeness to itself; compiled.

Everything is in integers held by float64 (each sum stays below 2^53), so that the order of
additions does not matter: a value is the same on every machine.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

PIXEL_SCALE = 256  # averages are kept in steps of 1/256 of a luma level

Floats = NDArray[np.float64]

# Sums of whole numbers are the same in any order, and products added in one step or in two.
EXACT = {"reassoc", "contract"}


@njit(nogil=True, cache=True)
def cell_sums(luma_HW: NDArray[np.uint8], side: int) -> Floats:
    """Sums over a grid of equal cells, counting split pixels by their parts.

    Args:
        luma_HW: 0..255.
        side: Cells along each side.

    Returns:
        side x side whole numbers, in units of 1 / side^2 of a pixel's level.
    """
    height, width = luma_HW.shape
    sums = np.empty((side, side), np.float64)
    column = np.zeros(width + 1, np.uint32)
    running = np.empty(width + 1, np.int64)
    places, within = np.empty(side, np.int64), np.empty(side, np.int64)
    for cell in range(side):  # where each ends
        places[cell] = (cell + 1) * width // side
        within[cell] = (cell + 1) * width - places[cell] * side
    for cy in range(side):
        start, end = cy * height, (cy + 1) * height
        column[:] = 0
        for y in range(start // side, (end - 1) // side + 1):
            part = np.uint32(min(end, (y + 1) * side) - max(start, y * side))
            row = luma_HW[y]
            for x in range(width):
                column[x] += part * np.uint32(row[x])
        total = np.int64(0)
        for x in range(width + 1):
            running[x] = total
            total += np.int64(column[x])
        line, before = sums[cy], np.int64(0)
        for cx in range(side):
            upto = side * running[places[cx]] + within[cx] * np.int64(column[places[cx]])
            line[cx] = float(upto - before)
            before = upto
    return sums


@njit(nogil=True, cache=True)
def averages(luma_HW: NDArray[np.uint8], side: int) -> Floats:
    """The means of equal cells, side x side, in steps of 1/256 luma level."""
    height, width = luma_HW.shape
    return np.rint(cell_sums(luma_HW, side) * PIXEL_SCALE / (height * width))


@njit(nogil=True, cache=True, fastmath=EXACT)
def _combined(factors: Floats, rows: Floats, result: Floats) -> None:
    """Adds rows (a multiple of four) up, each times its factor."""
    for i in range(0, len(factors), 4):  # four at once: fewer loads and stores
        a, b, c, d = factors[i], factors[i + 1], factors[i + 2], factors[i + 3]
        row_a, row_b, row_c, row_d = rows[i], rows[i + 1], rows[i + 2], rows[i + 3]
        for x in range(len(result)):
            result[x] += a * row_a[x] + b * row_b[x] + c * row_c[x] + d * row_d[x]


@njit(nogil=True, cache=True)
def dct_block(pixels_SS: Floats, matrix_KS: Floats) -> Floats:
    """The lowest frequencies of a square of averages.

    Args:
        pixels_SS: From `averages`; a multiple of four along each side.
        matrix_KS: The first rows of a DCT matrix, in integers.

    Returns:
        K x K integers: rows down, columns across.
    """
    kept, side = matrix_KS.shape
    matrix_SK = np.ascontiguousarray(matrix_KS.T)
    block = np.zeros((kept, kept), np.float64)
    along = np.empty(side, np.float64)
    for down in range(kept):
        along[:] = 0.0
        _combined(matrix_KS[down], pixels_SS, along)
        _combined(along, matrix_SK, block[down])
    return block


@njit(nogil=True, cache=True)
def lowest_frequencies(
    luma_HW: NDArray[np.uint8], coarse_KS: Floats, fine_KS: Floats
) -> tuple[Floats, Floats]:
    """The lowest frequencies of averages over a grid, and over one of half as many cells a side.

    Args:
        luma_HW: 0..255.
        coarse_KS: As for `dct_block`.
        fine_KS: The same of twice as many averages.
    """
    fine = averages(luma_HW, fine_KS.shape[1])
    side = coarse_KS.shape[1]
    coarse = np.empty((side, side), np.float64)  # four times the average: the same bits
    for y in range(side):
        one, other = fine[2 * y], fine[2 * y + 1]
        for x in range(side):
            coarse[y, x] = one[2 * x] + one[2 * x + 1] + other[2 * x] + other[2 * x + 1]
    return dct_block(coarse, coarse_KS), dct_block(fine, fine_KS)


@njit(nogil=True, cache=True)
def packed_bits(block_KK: Floats) -> NDArray[np.uint64]:
    """Whether coefficients are above the median of all but the first; 64 to a word."""
    coefficients = block_KK.reshape(-1)
    middle = len(coefficients) // 2 - 1  # of an odd number
    median = np.partition(coefficients[1:], middle)[middle]
    words = np.zeros(len(coefficients) // 64, np.uint64)
    for i in range(len(coefficients)):
        words[i // 64] = words[i // 64] << np.uint64(1) | np.uint64(coefficients[i] > median)
    return words


@njit(nogil=True, cache=True)
def hash_words(
    luma_HW: NDArray[np.uint8], coarse_KS: Floats, fine_KS: Floats
) -> tuple[int, int, int, int, int]:
    """The bits of 8x8 lowest frequencies of the coarse grid, and of 16x16 of the fine one."""
    coarse, fine = lowest_frequencies(luma_HW, coarse_KS, fine_KS)
    one, four = packed_bits(coarse), packed_bits(fine)
    return one[0], four[0], four[1], four[2], four[3]


@njit(nogil=True, cache=True, fastmath=EXACT)
def _product(one: Floats, other: Floats) -> float:
    total = 0.0
    for i in range(len(one)):
        total += one[i] * other[i]
    return total


@njit(nogil=True, cache=True, fastmath=EXACT)
def _total(values: Floats) -> float:
    total = 0.0
    for i in range(len(values)):
        total += values[i]
    return total


@njit(nogil=True, cache=True)
def gradients(grid_GG: Floats) -> Floats:
    """Differences of neighbours down and across, 2 x (G - 1) x (G - 1)."""
    last = len(grid_GG) - 1
    found = np.empty((2, last, last), np.float64)
    for y in range(last):
        row, below, down, across = grid_GG[y], grid_GG[y + 1], found[0, y], found[1, y]
        for x in range(last):
            down[x] = below[x] - row[x]
            across[x] = row[x + 1] - row[x]
    return found


@njit(nogil=True, cache=True)
def row_sums(fields_FYX: Floats) -> Floats:
    """Sums of each row, and of its squares, F x 2 x Y."""
    count, height, _ = fields_FYX.shape
    sums = np.empty((count, 2, height), np.float64)
    for i in range(count):
        for y in range(height):
            row = fields_FYX[i, y]
            sums[i, 0, y], sums[i, 1, y] = _total(row), _product(row, row)
    return sums


@njit(nogil=True, cache=True)
def likeness(fields_FYX: Floats, sums_F2Y: Floats, step: int, faint: float) -> float:
    """Correlation of fields, less their means, with themselves some rows further.

    Args:
        fields_FYX: As of `gradients`.
        sums_F2Y: Their `row_sums`.
        step: How many rows further.
        faint: Gradient, in levels, that counts as none; it is added to the power.

    Returns:
        -1..1.
    """
    _, height, width = fields_FYX.shape
    count = width * (height - step)
    products = ones = others = 0.0
    for i in range(len(fields_FYX)):
        field, totals, squares = fields_FYX[i].reshape(-1), sums_F2Y[i, 0], sums_F2Y[i, 1]
        mean = _total(totals) / len(field)
        one, other = _total(totals[: height - step]), _total(totals[step:])
        # The sum of (a - m) (b - m), of exact sums.
        products += _product(field[:count], field[width * step :])
        products -= mean * (one + other - count * mean)
        ones += _total(squares[: height - step]) - mean * (2 * one - count * mean)
        others += _total(squares[step:]) - mean * (2 * other - count * mean)
    power = np.sqrt(max(0.0, ones) * max(0.0, others)) + 2 * faint * faint * count
    return products / power if power > 0.0 else 0.0


@njit(nogil=True, cache=True)
def repetition(luma_HW: NDArray[np.uint8], side: int, faint: float) -> float:
    """The largest likeness after a half, a third or a quarter of a side; at least 0."""
    grid_GG = averages(luma_HW, side)
    best = 0.0
    for turned in range(2):
        fields_FYX = gradients(np.ascontiguousarray(grid_GG.T) if turned else grid_GG)
        sums_F2Y = row_sums(fields_FYX)
        for parts in (2, 3, 4):
            best = max(best, likeness(fields_FYX, sums_F2Y, side // parts, faint))
    return best

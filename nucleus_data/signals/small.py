"""What `tone` and `colour` count in the small view: one pass for both, compiled by numba.

All sums are over integers: they are the same on every machine.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from nucleus_data.pixels import Picture

Pixels = NDArray[np.uint8]

_CHUNK = 1024  # pixels whose sums of squares, each at most 510^2, fit 32 bits
_FINE = 32  # steps of 8 levels a channel
_NEAR = np.uint8(12)
_DARK, _BRIGHT = 16, 240
_CLIPPED = np.uint8(250)
_LOW_8, _LOW_16 = np.uint64(0xFF), np.uint64(0xFFFF)
_ONE_16, _ONE_32 = np.uint16(1), np.uint32(1)


class SmallSums(NamedTuple):
    """Counts and sums over the pixels of a small view.

    Attributes:
        pixels: How many there are.
        luma: Sum of their luma.
        luma_2: Sum of its squares.
        dark: Pixels with luma below 16, where video's "legal" range begins.
        bright: Pixels with luma above 239.
        clipped: Pixels with a channel of 250 or more.
        luma_p1: The smallest luma that at least 1 % of the pixels do not exceed.
        luma_p99: The smallest luma that at least 99 % of the pixels do not exceed.
        entropy: Shannon's, of luma, in bits.
        ranges: Sum of the largest channel less the smallest one.
        first: Sum of R - G.
        first_2: Sum of its squares.
        second: Sum of R + G - 2 B.
        second_2: Sum of its squares.
        grey: Pixels whose largest and smallest channels are less than 12 levels apart.
        commonest: Pixels in the fullest cube of 16 levels a side, of two grids: one begins at 0,
            the other half a cube lower.
    """

    pixels: int
    luma: int
    luma_2: int
    dark: int
    bright: int
    clipped: int
    luma_p1: int
    luma_p99: int
    entropy: float
    ranges: int
    first: int
    first_2: int
    second: int
    second_2: int
    grey: int
    commonest: int


@njit(nogil=True, cache=True)
def percentile(counts: NDArray[np.int64], share: float) -> int:
    """The smallest value that at least a share of the entries do not exceed.

    Args:
        counts: Entries of each value from 0 on; at least one in all.
        share: 0 to 1.

    Returns:
        A place in `counts`.
    """
    wanted = np.int64(np.ceil(share * counts.sum()))
    value, upto = 0, counts[0]
    while upto < wanted:
        value += 1
        upto += counts[value]
    return value


@njit(nogil=True, cache=True)
def histogram_sums(
    counts: NDArray[np.int64],
) -> tuple[np.int64, np.int64, np.int64, float]:
    """A histogram's entries, their sum, the sum of their squares, and Shannon's entropy in bits."""
    n = total = squares = np.int64(0)
    for level in range(len(counts)):
        n += counts[level]
        total += level * counts[level]
        squares += level * level * counts[level]
    entropy = 0.0
    for count in counts:
        if count > 0:
            entropy += count / n * np.log2(n / count)
    return n, total, squares, entropy


@njit(nogil=True, cache=True)
def _parted(pixels: Pixels, red: Pixels, green: Pixels, blue: Pixels) -> None:
    """Channels that follow each other, in three rows."""
    for i in range(len(red)):
        red[i], green[i], blue[i] = pixels[3 * i], pixels[3 * i + 1], pixels[3 * i + 2]


@njit(nogil=True, cache=True)
def _range_sums(red: Pixels, green: Pixels, blue: Pixels) -> tuple[np.uint32, np.uint32, np.uint32]:
    """Sum of the channels' ranges, number of grey pixels, number of clipped ones."""
    ranges = grey = clipped = np.uint32(0)
    for i in range(len(red)):
        high = max(max(red[i], green[i]), blue[i])
        distance = np.uint8(high - min(min(red[i], green[i]), blue[i]))
        ranges = np.uint32(ranges + distance)
        grey = np.uint32(grey + np.uint32(distance < _NEAR))
        clipped = np.uint32(clipped + np.uint32(high >= _CLIPPED))
    return ranges, grey, clipped


@njit(nogil=True, cache=True)
def _axis_sums(
    red: Pixels, green: Pixels, blue: Pixels
) -> tuple[np.int32, np.int32, np.int32, np.int32]:
    """Sums of R - G and of R + G - 2 B, each with the sum of its squares."""
    first = first_2 = second = second_2 = np.int32(0)
    for i in range(len(red)):
        # In the narrowest type that holds it, so that a vector holds more of them.
        value = np.int16(np.int16(red[i]) - np.int16(green[i]))
        first = np.int32(first + value)
        first_2 = np.int32(first_2 + np.int32(value) * np.int32(value))
    for i in range(len(red)):
        value = np.int16(np.int16(red[i]) + np.int16(green[i]) - 2 * np.int16(blue[i]))
        second = np.int32(second + value)
        second_2 = np.int32(second_2 + np.int32(value) * np.int32(value))
    return first, first_2, second, second_2


@njit(nogil=True, cache=True)
def _count(
    cubes: NDArray[np.uint16],
    luma: Pixels,
    fine_NRC: NDArray[np.uint16],
    counts_NL: NDArray[np.uint32],
) -> None:
    """Counts pixels by their cube and by their luma.

    Neighbours, which are often alike, are counted apart: so they do not wait for each other, and 16
    bits are enough. Four (eight) are loaded at once.
    """
    one, other = fine_NRC[0].reshape(-1), fine_NRC[1].reshape(-1)
    a, b, c, d = counts_NL[0], counts_NL[1], counts_NL[2], counts_NL[3]
    whole = len(luma) // 8 * 8
    cube_words, luma_words = cubes[:whole].view(np.uint64), luma[:whole].view(np.uint64)
    for i in range(len(luma_words)):
        word = cube_words[2 * i]
        one[word & _LOW_16] += _ONE_16
        other[(word >> np.uint64(16)) & _LOW_16] += _ONE_16
        one[(word >> np.uint64(32)) & _LOW_16] += _ONE_16
        other[word >> np.uint64(48)] += _ONE_16
        word = cube_words[2 * i + 1]
        one[word & _LOW_16] += _ONE_16
        other[(word >> np.uint64(16)) & _LOW_16] += _ONE_16
        one[(word >> np.uint64(32)) & _LOW_16] += _ONE_16
        other[word >> np.uint64(48)] += _ONE_16
        word = luma_words[i]
        a[word & _LOW_8] += _ONE_32
        b[(word >> np.uint64(8)) & _LOW_8] += _ONE_32
        c[(word >> np.uint64(16)) & _LOW_8] += _ONE_32
        d[(word >> np.uint64(24)) & _LOW_8] += _ONE_32
        a[(word >> np.uint64(32)) & _LOW_8] += _ONE_32
        b[(word >> np.uint64(40)) & _LOW_8] += _ONE_32
        c[(word >> np.uint64(48)) & _LOW_8] += _ONE_32
        d[word >> np.uint64(56)] += _ONE_32
    for i in range(whole, len(luma)):
        one[cubes[i]] += _ONE_16
        a[luma[i]] += _ONE_32


@njit(nogil=True, cache=True)
def fullest_cube(fine_NRC: NDArray[np.uint16], shifted: int) -> np.uint32:
    """The largest count of a cube of 2 x 2 x 2 fine ones.

    Args:
        fine_NRC: Counts of cubes of 8 levels a side, N of them to be added, 32 x 32^2.
        shifted: 0 for cubes that begin at even places, 1 for odd ones and -1.
    """
    best = np.uint32(0)
    # One line of nothing on either side, and one cube more, so that all loops are long.
    sums = np.zeros((_FINE + 2) * _FINE, np.uint32)
    inside = sums[_FINE : _FINE + _FINE**2]
    for r in range(-shifted, _FINE, 2):
        inside[:] = 0
        for red in range(max(r, 0), min(r + 2, _FINE)):
            for part in range(len(fine_NRC)):
                one = fine_NRC[part, red]
                for i in range(_FINE**2):
                    inside[i] += one[i]
        for g in range(-shifted, _FINE, 2):
            line = sums[(g + 1) * _FINE : (g + 3) * _FINE]
            if shifted:
                best = max(best, np.uint32(line[0] + line[_FINE]))
                best = max(best, np.uint32(line[_FINE - 1] + line[2 * _FINE - 1]))
            one, other = line[shifted:], line[shifted + _FINE :]
            for b in range(_FINE // 2 - shifted):
                pair = one[2 * b] + one[2 * b + 1] + other[2 * b] + other[2 * b + 1]
                best = max(best, np.uint32(pair))
    return best


@njit(nogil=True, cache=True)
def small_sums(pixels_HWC: Pixels, luma_HW: Pixels) -> tuple[Any, ...]:
    """The fields of `SmallSums`, in their order.

    Args:
        pixels_HWC: RGB, 0..255.
        luma_HW: Luma of the same pixels, 0..255.
    """
    pixels, luma = pixels_HWC.reshape(-1), luma_HW.reshape(-1)
    fine, counts = np.zeros((2, _FINE, _FINE**2), np.uint16), np.zeros((4, 256), np.uint32)
    parts = np.empty((3, _CHUNK), np.uint8)
    cubes = np.empty(_CHUNK, np.uint16)
    ranges = grey = clipped = first = first_2 = second = second_2 = np.int64(0)
    for start in range(0, len(luma), _CHUNK):
        length = min(_CHUNK, len(luma) - start)
        red, green, blue = parts[0, :length], parts[1, :length], parts[2, :length]
        _parted(pixels[3 * start :], red, green, blue)
        found = _range_sums(red, green, blue)
        ranges += found[0]
        grey += found[1]
        clipped += found[2]
        sums = _axis_sums(red, green, blue)
        first += sums[0]
        first_2 += sums[1]
        second += sums[2]
        second_2 += sums[3]
        for i in range(length):
            cube = np.uint16(red[i] >> np.uint8(3)) << np.uint16(10)
            cube |= np.uint16(green[i] >> np.uint8(3)) << np.uint16(5)
            cubes[i] = cube | np.uint16(blue[i] >> np.uint8(3))
        _count(cubes[:length], luma[start : start + length], fine, counts)
    commonest = max(fullest_cube(fine, 0), fullest_cube(fine, 1))
    levels = counts.sum(axis=0).astype(np.int64)
    n, total, squares, entropy = histogram_sums(levels)
    return (
        n,
        total,
        squares,
        levels[:_DARK].sum(),
        levels[_BRIGHT:].sum(),
        clipped,
        percentile(levels, 0.01),
        percentile(levels, 0.99),
        entropy,
        ranges,
        first,
        first_2,
        second,
        second_2,
        grey,
        np.int64(commonest),
    )


def sums_of(picture: Picture) -> SmallSums:
    """The counts and sums of a picture's small view; through `Picture.once`, groups share them."""
    return SmallSums(*small_sums(picture.small, picture.luma_small))

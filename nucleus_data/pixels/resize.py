"""Bicubic and Lanczos resizing with the bits of Pillow's `Image.resize`, in half of its time.

Pillow computes each output pixel of the horizontal pass from a few neighbours, which compilers do
not vectorize. Here bands of rows are transposed, so that both passes are sums of whole rows with
one weight each. Weights, fixed-point arithmetic and order of passes are those of Pillow's
`Resample.c`: R. Keys, Cubic convolution interpolation (1981), a = -0.5; C. Duchon, Lanczos
filtering (1979), 3 lobes. Sums are over integers, so the bits are the same on any machine.

Imported when first needed: a training loader that only crops has no use for numba.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numba import njit
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Words = NDArray[np.uint32]
Integers = NDArray[np.int64]
Weights = NDArray[np.int32]
Floats = NDArray[np.float64]
Box = tuple[float, float, float, float]

_BITS = 22  # of a weight's fraction
_BAND = 16  # rows that are transposed together: 64 bytes of each column


def _cubic(distance: Floats) -> Floats:
    x, a = np.abs(distance), -0.5
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _lanczos(distance: Floats) -> Floats:
    inside = (distance >= -3) & (distance < 3)
    return np.where(inside, _sinc(distance) * _sinc(distance / 3), 0.0)


def _sinc(x: Floats) -> Floats:
    angle = np.where(x == 0, 1.0, x * np.pi)
    return np.where(x == 0, 1.0, np.sin(angle) / angle)


# Filter -> its weight at a distance, and where it ends, both in pixels of the smaller picture.
FILTERS: Mapping[Image.Resampling, tuple[Callable[[Floats], Floats], float]] = {
    Image.Resampling.BICUBIC: (_cubic, 2.0),
    Image.Resampling.LANCZOS: (_lanczos, 3.0),
}


def resized(words_HW: Words, size: tuple[int, int], resample: Image.Resampling, box: Box) -> Pixels:
    """Scales a part of a picture.

    Args:
        words_HW: A word a pixel: red, green, blue and a byte that does not count.
        size: Width and height of the result.
        resample: One of `FILTERS`.
        box: Left, top, right, bottom of the part, in pixels.

    Returns:
        RGB, height x width x 3: the bits of `Image.resize(size, resample, box)`.
    """
    rows, columns = words_HW.shape
    width, height = size
    left, top, right, bottom = box
    words = np.ascontiguousarray(words_HW)
    across = (left, right, columns) != (0, width, width)
    down = (top, bottom, rows) != (0, height, height)
    first, count, weights = _weights(rows, top, bottom, height, resample)
    # Values are rounded between the passes, so their order counts: that of Pillow 13.
    if down and rows - height > max(0, 2 * (columns - width)):
        words, down = _down(words, first, count, weights), False
    if across and down:
        used = slice(first[0], first[-1] + count[-1])
        words, first = words[used], first - first[0]
    if across:
        words = _across(words, *_weights(columns, left, right, width, resample))
    if down:
        words = _down(words, first, count, weights)
    return _packed(words)


def _weights(
    length: int, low: float, high: float, count: int, resample: Image.Resampling
) -> tuple[Integers, Integers, Weights]:
    """Weights of the input pixels along one side, for each output pixel.

    Args:
        length: Number of input pixels.
        low: Where the part that is scaled begins, rounded to float32 as Pillow does.
        high: Where it ends.
        count: Number of output pixels.
        resample: The filter.

    Returns:
        The first input pixel of each output pixel, their number, and their weights, shape (count,
        largest number), times 2^22; zeros after the last.
    """
    begin, end = np.float32(low), np.float32(high)
    weight, support = FILTERS[resample]
    scale = float(end - begin) / count
    widened = max(scale, 1.0)  # to average what becomes smaller, else to interpolate
    reach = support * widened
    centre = float(begin) + (np.arange(count) + 0.5) * scale
    first = np.maximum((centre - reach + 0.5).astype(np.int64), 0)
    number = np.minimum((centre + reach + 0.5).astype(np.int64), length) - first
    at = np.arange(int(np.ceil(reach)) * 2 + 1)
    found = weight((at + first[:, None] - centre[:, None] + 0.5) * (1.0 / widened))
    found[at >= number[:, None]] = 0.0
    # One after the other, as Pillow adds: `sum` adds in pairs.
    found /= np.add.accumulate(found, axis=1)[:, -1:]
    found *= 1 << _BITS
    return first, number, np.where(found < 0, found - 0.5, found + 0.5).astype(np.int32)


@njit(nogil=True, cache=True)
def _sums(
    rows: Pixels, first: Integers, count: Integers, weights: Weights, out: Pixels
) -> None:  # pragma: no cover - compiled
    """Rows of `out` are weighted sums of rows, rounded and limited to 0..255."""
    length = rows.shape[1]
    sums = np.empty(length, np.int32)
    half = np.int32(1 << (_BITS - 1))
    for y in range(len(first)):
        for i in range(length):
            sums[i] = half
        for k in range(count[y]):
            weight, row = weights[y, k], rows[first[y] + k]
            for i in range(length):
                sums[i] += weight * np.int32(row[i])
        line = out[y]
        for i in range(length):
            line[i] = np.uint8(min(max(sums[i] >> _BITS, 0), 255))


@njit(nogil=True, cache=True)
def _across(
    words: Words, first: Integers, count: Integers, weights: Weights
) -> Words:  # pragma: no cover - compiled
    """Scales the rows, of one word a pixel."""
    height, columns, width = words.shape[0], words.shape[1], len(first)
    out = np.empty((height, width), np.uint32)
    turned = np.zeros((columns, _BAND), np.uint32)
    scaled = np.empty((width, _BAND), np.uint32)
    left, right = first[0], first[-1] + count[-1]  # columns that count
    for top in range(0, height, _BAND):
        rows = min(_BAND, height - top)
        for x in range(left, right):
            for y in range(rows):
                turned[x, y] = words[top + y, x]
        _sums(turned.view(np.uint8), first, count, weights, scaled.view(np.uint8))
        for y in range(rows):
            for x in range(width):
                out[top + y, x] = scaled[x, y]
    return out


@njit(nogil=True, cache=True)
def _down(
    words: Words, first: Integers, count: Integers, weights: Weights
) -> Words:  # pragma: no cover - compiled
    """Scales the columns, of one word a pixel."""
    out = np.empty((len(first), words.shape[1]), np.uint32)
    _sums(words.view(np.uint8), first, count, weights, out.view(np.uint8))
    return out


@njit(nogil=True, cache=True)
def _packed(words: Words) -> Pixels:  # pragma: no cover - compiled
    """The first three bytes of each word, HxWx3."""
    height, width = words.shape
    out = np.empty((height, width, 3), np.uint8)
    packed, four = out.reshape(-1), words.reshape(-1).view(np.uint8)
    for i in range(height * width):
        for channel in range(3):
            packed[3 * i + channel] = four[4 * i + channel]
    return out

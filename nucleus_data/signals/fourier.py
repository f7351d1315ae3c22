"""Power spectra of square tiles of 64 pixels, compiled: half of the time that radix 2 takes.

Two passes of transforms of 8 (Cooley and Tukey 1965), of all columns at once, so that each step is
a loop over a row; then the same along rows. Two real tiles at a time are the real and the imaginary
part of one complex tile.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

SIDE = 64
_RADIX = 8
_PITCH = 72  # from row to row: a power of two would crowd some of the cache's sets
_TURN = -2 * np.pi * np.outer(np.arange(_RADIX), np.arange(_RADIX)) / SIDE
_COS, _SIN = np.cos(_TURN).astype(np.float32), np.sin(_TURN).astype(np.float32)
_HANN = np.sin(np.pi * (np.arange(SIDE) + 0.5) / SIDE) ** 2
_WINDOW = np.outer(_HANN, _HANN).astype(np.float32)
_ROOT = np.float32(np.sqrt(0.5))
_BLOCK = 4  # pairs of columns that are turned at once
_LOW, _HALF = np.uint64(0xFFFF_FFFF), np.uint64(32)

Floats = NDArray[np.float32]


@njit(nogil=True, cache=True, inline="always")
def _pass(real: Floats, imag: Floats, to_real: Floats, to_imag: Floats, first: bool) -> None:
    """Transforms of 8 rows each, along columns: rows 8 apart in the first pass, neighbours then.

    Args:
        real: Real parts: rows of 64, `_PITCH` apart.
        imag: Imaginary parts, laid out in the same way.
        to_real: Real parts of the result, rows 8 apart again; written.
        to_imag: Imaginary parts of the result; written.
        first: Whether results are to be turned for the second pass.
    """
    apart = _RADIX * _PITCH if first else _PITCH
    for j in range(_RADIX):
        start = j * _PITCH if first else j * _RADIX * _PITCH
        r, i = real[start:], imag[start:]
        q, p = to_real[j * _PITCH :], to_imag[j * _PITCH :]
        for x in range(SIDE):
            # Sums and differences of rows 4 apart, then 2 apart, then next to each other.
            r0, i0, r4, i4 = r[x], i[x], r[x + 4 * apart], i[x + 4 * apart]
            r2, i2, r6, i6 = (
                r[x + 2 * apart],
                i[x + 2 * apart],
                r[x + 6 * apart],
                i[x + 6 * apart],
            )
            r1, i1, r5, i5 = r[x + apart], i[x + apart], r[x + 5 * apart], i[x + 5 * apart]
            r3, i3, r7, i7 = (
                r[x + 3 * apart],
                i[x + 3 * apart],
                r[x + 7 * apart],
                i[x + 7 * apart],
            )
            r0, i0, r4, i4 = r0 + r4, i0 + i4, r0 - r4, i0 - i4
            r2, i2, r6, i6 = r2 + r6, i2 + i6, r2 - r6, i2 - i6
            r1, i1, r5, i5 = r1 + r5, i1 + i5, r1 - r5, i1 - i5
            r3, i3, r7, i7 = r3 + r7, i3 + i7, r3 - r7, i3 - i7
            r0, i0, r2, i2 = r0 + r2, i0 + i2, r0 - r2, i0 - i2
            r4, i4, r6, i6 = r4 + i6, i4 - r6, r4 - i6, i4 + r6
            r1, i1, r3, i3 = r1 + r3, i1 + i3, r1 - r3, i1 - i3
            r5, i5, r7, i7 = r5 + i7, i5 - r7, r5 - i7, i5 + r7
            r5, i5, r7, i7 = (
                _ROOT * (r5 + i5),
                _ROOT * (i5 - r5),
                _ROOT * (i7 - r7),
                _ROOT * (-r7 - i7),
            )
            r0, i0, r1, i1 = r0 + r1, i0 + i1, r0 - r1, i0 - i1
            r2, i2, r3, i3 = r2 + i3, i2 - r3, r2 - i3, i2 + r3
            r4, i4, r5, i5 = r4 + r5, i4 + i5, r4 - r5, i4 - i5
            r6, i6, r7, i7 = r6 + r7, i6 + i7, r6 - r7, i6 - i7
            # Frequencies 0 to 7 are now in 0, 4, 2, 6, 1, 5, 3, 7.
            if first:
                r4, i4 = _COS[1, j] * r4 - _SIN[1, j] * i4, _COS[1, j] * i4 + _SIN[1, j] * r4
                r2, i2 = _COS[2, j] * r2 - _SIN[2, j] * i2, _COS[2, j] * i2 + _SIN[2, j] * r2
                r6, i6 = _COS[3, j] * r6 - _SIN[3, j] * i6, _COS[3, j] * i6 + _SIN[3, j] * r6
                r1, i1 = _COS[4, j] * r1 - _SIN[4, j] * i1, _COS[4, j] * i1 + _SIN[4, j] * r1
                r5, i5 = _COS[5, j] * r5 - _SIN[5, j] * i5, _COS[5, j] * i5 + _SIN[5, j] * r5
                r3, i3 = _COS[6, j] * r3 - _SIN[6, j] * i3, _COS[6, j] * i3 + _SIN[6, j] * r3
                r7, i7 = _COS[7, j] * r7 - _SIN[7, j] * i7, _COS[7, j] * i7 + _SIN[7, j] * r7
            q[x], p[x] = r0, i0
            q[x + 8 * _PITCH], p[x + 8 * _PITCH] = r4, i4
            q[x + 16 * _PITCH], p[x + 16 * _PITCH] = r2, i2
            q[x + 24 * _PITCH], p[x + 24 * _PITCH] = r6, i6
            q[x + 32 * _PITCH], p[x + 32 * _PITCH] = r1, i1
            q[x + 40 * _PITCH], p[x + 40 * _PITCH] = r5, i5
            q[x + 48 * _PITCH], p[x + 48 * _PITCH] = r3, i3
            q[x + 56 * _PITCH], p[x + 56 * _PITCH] = r7, i7


@njit(nogil=True, cache=True)
def _windowed(tile_YX: NDArray[np.uint8], result: Floats) -> None:
    """A tile less its mean, under a Hann window."""
    total, pixels = np.int32(0), tile_YX.reshape(-1)
    for i in range(len(pixels)):
        total = np.int32(total + pixels[i])
    mean = np.float32(total / (SIDE * SIDE))
    for y in range(SIDE):
        row, window, to = tile_YX[y], _WINDOW[y], result[y * _PITCH :]
        for x in range(SIDE):
            to[x] = (np.float32(row[x]) - mean) * window[x]


@njit(nogil=True, cache=True)
def _turned(values: Floats, result: Floats) -> None:
    """Rows become columns; two numbers are moved at once."""
    pairs, to_pairs = values.view(np.uint64), result.view(np.uint64)
    for left in range(0, SIDE // 2, _BLOCK):
        for y in range(0, SIDE, 2):
            row = pairs[y * _PITCH // 2 + left :]
            below = pairs[(y + 1) * _PITCH // 2 + left :]
            to = to_pairs[left * _PITCH + y // 2 :]
            for x in range(_BLOCK):
                one, other = row[x], below[x]
                to[x * _PITCH] = (one & _LOW) | (other << _HALF)
                to[x * _PITCH + _PITCH // 2] = (one >> _HALF) | (other & ~_LOW)


@njit(nogil=True, cache=True)
def _parted(real: Floats, imag: Floats, one_FY: Floats, other_FY: Floats) -> None:
    """The power a pixel of the two tiles that a spectrum holds.

    A real tile's spectrum at -f is the conjugate of that at f; this parts the two.
    """
    quarter = np.float32(0.25 / SIDE**2)
    for f in range(SIDE // 2 + 1):
        mirrored = (SIDE - f) % SIDE * _PITCH
        r, i = real[f * _PITCH :], imag[f * _PITCH :]
        mirror_r, mirror_i = real[mirrored:], imag[mirrored:]
        # Frequency 0 down is its own mirror image; it stands where 64 would.
        mirror_r[SIDE], mirror_i[SIDE] = mirror_r[0], mirror_i[0]
        one, other = one_FY[f], other_FY[f]
        for y in range(SIDE):
            even_r, odd_r = r[y] + mirror_r[SIDE - y], r[y] - mirror_r[SIDE - y]
            even_i, odd_i = i[y] + mirror_i[SIDE - y], i[y] - mirror_i[SIDE - y]
            one[y] = (even_r * even_r + odd_i * odd_i) * quarter
            other[y] = (even_i * even_i + odd_r * odd_r) * quarter


@njit(nogil=True, cache=True)
def tile_power(tiles_NYX: NDArray[np.uint8]) -> Floats:
    """Power spectra of tiles, less their means, under a Hann window.

    Args:
        tiles_NYX: N x 64 x 64, 0..255.

    Returns:
        N x 33 x 64 in levels^2 a pixel: frequencies across, then down, in the order of
        `np.fft.rfft2`.
    """
    count = len(tiles_NYX)
    power_NFY = np.empty((count, SIDE // 2 + 1, SIDE), np.float32)
    real, imag = np.empty(SIDE * _PITCH, np.float32), np.empty(SIDE * _PITCH, np.float32)
    spare_real, spare_imag = (
        np.empty(SIDE * _PITCH, np.float32),
        np.empty(SIDE * _PITCH, np.float32),
    )
    for first in range(0, count, 2):
        second = min(first + 1, count - 1)
        _windowed(tiles_NYX[first], real)
        _windowed(tiles_NYX[second], imag)
        _pass(real, imag, spare_real, spare_imag, True)
        _pass(spare_real, spare_imag, real, imag, False)
        _turned(real, spare_real)
        _turned(imag, spare_imag)
        _pass(spare_real, spare_imag, real, imag, True)
        _pass(real, imag, spare_real, spare_imag, False)
        _parted(spare_real, spare_imag, power_NFY[first], power_NFY[second])
    return power_NFY

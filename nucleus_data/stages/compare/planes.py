"""Image arithmetic on planes (float32[H, W]) and RGB pictures (uint8[H, W, 3])."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Plane = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels
Terms = dict[str, float]


def log_ratio(one: float, other: float, floor: float) -> float:
    """Returns the binary logarithm of the ratio of two numbers, after adding a floor to both."""
    return float(np.log2((one + floor) / (other + floor)))


def luma(pixels: Pixels) -> Plane:
    """Returns the BT.601 luma of an RGB picture, float32[H, W], 0 to 255, not rounded."""
    found: Plane = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return found


def opponents(rgb: Pixels) -> tuple[Plane, Plane]:
    """Returns two opponent colour planes: red - green, and (red + green) / 2 - blue."""
    levels = rgb.astype(np.float32)
    red, green, blue = levels[..., 0], levels[..., 1], levels[..., 2]
    return red - green, (red + green) * np.float32(0.5) - blue


def scaled(
    plane: Plane, width: int, height: int, how: Image.Resampling = Image.Resampling.LANCZOS
) -> Plane:
    """Resizes a plane to float32[height, width].

    Args:
        plane: float32[H, W].
        width: New width in pixels.
        height: New height in pixels.
        how: The filter.
    """
    if plane.shape == (height, width):
        return plane
    return np.asarray(Image.fromarray(plane).resize((width, height), how))


def resized(pixels: Pixels, width: int, height: int, box: Box | None = None) -> Pixels:
    """Resizes an RGB picture, or a box of it, to uint8[height, width, 3], by a Lanczos filter.

    Args:
        pixels: uint8[H, W, 3].
        width: New width in pixels.
        height: New height in pixels.
        box: The part to resize; None for the whole picture.
    """
    if box is None and pixels.shape[:2] == (height, width):
        return np.ascontiguousarray(pixels)
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(
        image.resize((width, height), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)
    )


def turned(pixels: Pixels, turn: int) -> Pixels:
    """Returns one of eight orientations: `turn % 4` quarter turns, mirrored before from 4 on."""
    return np.ascontiguousarray(np.rot90(pixels[:, ::-1] if turn >= 4 else pixels, turn % 4))


def box_mean(plane: Plane, radius: int) -> Plane:
    """Returns the mean over the square of `2 * radius + 1` pixels around each pixel."""
    side = 2 * radius + 1
    for axis in (0, 1):
        pad = [(radius + 1, radius) if a == axis else (0, 0) for a in (0, 1)]
        total = np.cumsum(np.pad(plane, pad, mode="edge"), axis=axis, dtype=np.float64)
        low, high = [slice(None)] * 2, [slice(None)] * 2
        low[axis], high[axis] = slice(0, -side), slice(side, None)
        plane = ((total[tuple(high)] - total[tuple(low)]) / side).astype(np.float32)
    return plane


def shrunk(plane: Plane, side: int) -> Plane:
    """Returns the means of squares of `side` pixels; incomplete ones at the edges are left out."""
    height, width = (s // side * side for s in plane.shape)
    rows = plane[:height, :width].reshape(height // side, side, width).mean(axis=1)
    found: Plane = rows.reshape(len(rows), width // side, side).mean(axis=2)
    return found


def blocks(plane: Plane, side: int) -> Plane:
    """Returns the means of `shrunk` as one vector."""
    return shrunk(plane, side).ravel()


def laplacian(plane: Plane) -> Plane:
    """Returns 4 times each pixel minus its four neighbours, without the outermost pixels."""
    inner = 4 * plane[1:-1, 1:-1]
    found: Plane = inner - plane[:-2, 1:-1] - plane[2:, 1:-1] - plane[1:-1, :-2] - plane[1:-1, 2:]
    return found


def slope(plane: Plane) -> Plane:
    """Returns the magnitude of the gradient."""
    found: Plane = np.hypot(*np.gradient(plane))
    return found


def extremes(plane: Plane) -> tuple[Plane, Plane]:
    """Returns the maximum and the minimum of the 3x3 pixels around each pixel."""
    padded = np.pad(plane, 1, mode="edge")
    high = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:])
    high = np.maximum(np.maximum(high[:, :-2], high[:, 1:-1]), high[:, 2:])
    low = np.minimum(np.minimum(padded[:-2], padded[1:-1]), padded[2:])
    low = np.minimum(np.minimum(low[:, :-2], low[:, 1:-1]), low[:, 2:])
    return high, low


def middle_of_four(plane: Plane) -> Plane:
    """Returns the mean of the middle two of the four neighbours, without the outermost pixels."""
    around = np.stack([plane[:-2, 1:-1], plane[2:, 1:-1], plane[1:-1, :-2], plane[1:-1, 2:]])
    found: Plane = (around.sum(axis=0) - around.max(axis=0) - around.min(axis=0)) / 2
    return found


def correlation(one: Plane, other: Plane) -> float:
    """Returns the Pearson correlation of two planes, -1 to 1."""
    one, other = one - one.mean(), other - other.mean()
    return float((one * other).sum() / np.sqrt((one * one).sum() * (other * other).sum() + 1e-9))

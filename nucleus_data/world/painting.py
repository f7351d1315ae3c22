"""Paints a scene: a background with low-frequency texture, anti-aliased shapes, fine grain.

The texture matters: on plain backgrounds unrelated scenes would share a perceptual hash. It belongs
to the scene, not to the size, so that the same scene at another size is a near duplicate. Grain
belongs to both.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nucleus_data.world.scenes import BACKGROUNDS, COLORS, Scene, Shape

Array = NDArray[Any]

# The texture's grids (cells a side) and their amplitudes in levels of 255: what pHash sees, and
# what sharpness sees.
OCTAVES = ((4, 22.0), (7, 16.0), (16, 6.0))
GRAIN = 3.0
LIGHT = 34.0


def render(scene: Scene, width: int, height: int) -> Image.Image:
    """Paints a scene.

    Args:
        scene: The facts.
        width: In pixels, 1 or more.
        height: In pixels, 1 or more.

    Returns:
        An RGB picture, the same for the same arguments.
    """
    texture_rng = np.random.default_rng([scene.seed, scene.index, 1])
    grain_rng = np.random.default_rng([scene.seed, scene.index, width, height])
    x_W = ((np.arange(width, dtype=np.float32) + 0.5) / width)[None, :]
    y_H = ((np.arange(height, dtype=np.float32) + 0.5) / height)[:, None]

    tone = _light(scene.light, x_W, y_H) * LIGHT
    for cells, amplitude in OCTAVES:
        grid = texture_rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
        smooth = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
        tone = tone + amplitude * np.asarray(smooth)
    tone = tone + GRAIN * grain_rng.standard_normal((height, width), dtype=np.float32)

    pixels = np.asarray(BACKGROUNDS[scene.background], dtype=np.float32) + tone[..., None]
    side = min(width, height)
    for shape in scene.shapes:
        coverage = _coverage(shape, (x_W - shape.x) * width, (y_H - shape.y) * height, side)
        # A fifth of the texture and grain stays on the shape: paint, not a hole.
        paint = np.asarray(COLORS[shape.color], dtype=np.float32) + 0.2 * tone[..., None]
        pixels = pixels + coverage[..., None] * (paint - pixels)
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def _light(towards: str, x: Array, y: Array) -> Array:
    """-1 to 1 over the picture, rising towards the named side; zeros for `none`."""
    ramps = {"left": 1 - 2 * x, "right": 2 * x - 1, "top": 1 - 2 * y, "bottom": 2 * y - 1}
    flat = np.zeros(np.broadcast_shapes(x.shape, y.shape), dtype=np.float32)
    return flat + ramps.get(towards, np.float32(0))


def _coverage(shape: Shape, dx: Array, dy: Array, side: int) -> Array:
    """Share of each pixel that the shape covers, from its signed distance (negative inside)."""
    r = shape.radius * side
    ax, ay = np.abs(dx), np.abs(dy)
    if shape.kind == "circle":
        distance = np.hypot(dx, dy) - r
    elif shape.kind == "ring":
        distance = np.abs(np.hypot(dx, dy) - 0.76 * r) - 0.24 * r
    elif shape.kind == "square":
        distance = np.maximum(ax, ay) - 0.86 * r
    elif shape.kind == "diamond":
        distance = (ax + ay - 1.1 * r) / math.sqrt(2)
    elif shape.kind == "cross":
        arm, reach = 0.3 * r, r
        distance = np.minimum(np.maximum(ax - reach, ay - arm), np.maximum(ax - arm, ay - reach))
    else:  # triangle, pointing up
        slope = (2 * ax - dy - r) / math.sqrt(5)
        distance = np.maximum(dy - 0.8 * r, slope)
    return np.clip(0.5 - distance, 0, 1).astype(np.float32)

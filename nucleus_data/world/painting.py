"""Paints a scene: a background with low-frequency texture, anti-aliased shapes, fine grain.

The texture matters: on plain backgrounds unrelated scenes would share a perceptual hash. It belongs
to the scene, not to the size, so that the same scene at another size is a near duplicate. Grain
belongs to both.

Shapes of arrays: H and W are the picture's sides, C its three channels; `pixels_HWC` is float32 on
the scale of 0 to 255.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from nucleus_data.world.scenes import BACKGROUNDS, COLORS, Scene, Shape

Array = NDArray[Any]

# The texture's grids (cells a side) and their amplitudes in levels of 255: what pHash sees, and
# what sharpness sees.
OCTAVES = ((4, 22.0), (7, 16.0), (16, 6.0))
GRAIN = 3.0
LIGHT = 44.0
# A fifth of the texture and grain stays on the shape: paint, not a hole.
TEXTURE_ON_SHAPES = 0.2
OUTLINE = 0.12
CLUTTER = 36


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

    tone_HW = _light(scene.light, x_W, y_H) * LIGHT
    for cells, amplitude in OCTAVES:
        grid = texture_rng.uniform(-amplitude, amplitude, (cells, cells)).astype(np.float32)
        tone_HW = tone_HW + _enlarged(grid, width, height)
    tone_HW = tone_HW + GRAIN * grain_rng.standard_normal((height, width), dtype=np.float32)

    side = min(width, height)
    ground_HW = tone_HW
    if scene.ground == "woven":
        waves = np.sin(x_W * (width / side) * 90) * np.sin(y_H * (height / side) * 90)
        ground_HW = tone_HW + 22 * waves
    pixels_HWC = np.asarray(BACKGROUNDS[scene.background], np.float32) + ground_HW[..., None]
    if scene.ground == "cluttered":
        _clutter(pixels_HWC, np.random.default_rng([scene.seed, scene.index, 3]))
    for shape in scene.shapes:
        _paint(pixels_HWC, tone_HW, shape, scene.style)
    if scene.word:
        _write(pixels_HWC, scene.word, scene.word_place)
    if scene.style in STYLED:
        pixels_HWC = STYLED[scene.style](pixels_HWC)
    return Image.fromarray(np.clip(np.rint(pixels_HWC), 0, 255).astype(np.uint8))


def _light(towards: str, x: Array, y: Array) -> Array:
    """-1 to 1 over the picture, rising towards the named side; zeros for `none`."""
    ramps = {"left": 1 - 2 * x, "right": 2 * x - 1, "top": 1 - 2 * y, "bottom": 2 * y - 1}
    flat = np.zeros(np.broadcast_shapes(x.shape, y.shape), dtype=np.float32)
    return flat + ramps.get(towards, np.float32(0))


def _enlarged(grid: Array, width: int, height: int) -> Array:
    return np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC))


def _paint(pixels_HWC: Array, tone_HW: Array, shape: Shape, style: str) -> None:
    """Paints one shape, in place, within its box."""
    height, width = tone_HW.shape
    radius = shape.radius * min(width, height)
    center_x, center_y = shape.x * width, shape.y * height
    left, right = max(0, int(center_x - 1.2 * radius)), int(center_x + 1.2 * radius) + 2
    top, bottom = max(0, int(center_y - 1.2 * radius)), int(center_y + 1.2 * radius) + 2
    box = (slice(top, bottom), slice(left, right))
    tone = tone_HW[box]
    dx = (np.arange(left, left + tone.shape[1], dtype=np.float32) + 0.5 - center_x)[None, :]
    dy = (np.arange(top, top + tone.shape[0], dtype=np.float32) + 0.5 - center_y)[:, None]
    distance = DISTANCES[shape.kind](dx, dy, radius)
    color = np.asarray(COLORS[shape.color], dtype=np.float32)
    paint = color + TEXTURE_ON_SHAPES * tone[..., None]
    if shape.texture != "plain":
        # Marks in a lighter or darker shade of the same colour, so that its name stays true.
        shade = color * 0.55 if color.mean() > 60 else color + 90
        marks = MARKS[shape.texture](dx / radius, dy / radius, 1.5 / radius)
        paint = paint + marks[..., None] * (shade - color)
    if style == "outlined":
        edge = np.clip(distance + OUTLINE * radius + 0.5, 0, 1)
        dark = np.float32(235 if shape.color == "black" else 20)
        paint = paint + edge[..., None] * (dark - paint)
    coverage = np.clip(0.5 - distance, 0, 1)
    pixels_HWC[box] += coverage[..., None] * (paint - pixels_HWC[box])


# Signed distances in pixels, negative inside, of a shape of radius r around (0, 0); y points down.
Distance = Callable[[Array, Array, float], Array]


def _cross(dx: Array, dy: Array, r: float) -> Array:
    ax, ay, arm = np.abs(dx), np.abs(dy), 0.3 * r
    return np.minimum(np.maximum(ax - r, ay - arm), np.maximum(ax - arm, ay - r))


def _star(dx: Array, dy: Array, r: float) -> Array:
    """Five points, one up: the edges' lines, seen from the nearest tip's sector."""
    turn = 2 * math.pi / 5
    angle = np.abs((np.arctan2(dx, -dy) + turn / 2) % turn - turn / 2)
    far = np.hypot(dx, dy)
    x, y = far * np.sin(angle), far * np.cos(angle)
    # The edge from the tip (0, 1.1 r) to the notch at half a turn, 0.45 r from the centre.
    notch = (0.45 * r * math.sin(turn / 2), 0.45 * r * math.cos(turn / 2))
    ex, ey = notch[0], notch[1] - 1.1 * r
    return (x * -ey + (y - 1.1 * r) * ex) / math.hypot(ex, ey)


def _heart(dx: Array, dy: Array, r: float) -> Array:
    """Point down; the exact distance of Inigo Quilez, "2D distance functions" (2020)."""
    scale = 1.8 * r
    x, y = np.abs(dx) / scale, 0.55 - dy / scale
    lobe = np.hypot(x - 0.25, y - 0.75) - math.sqrt(2) / 4
    along = 0.5 * np.maximum(x + y, 0)
    side = np.minimum(np.hypot(x, y - 1), np.hypot(x - along, y - along)) * np.sign(x - y)
    return np.asarray(scale * np.where(x + y > 1, lobe, side))


DISTANCES: dict[str, Distance] = {
    "circle": lambda dx, dy, r: np.hypot(dx, dy) - r,
    "ring": lambda dx, dy, r: np.abs(np.hypot(dx, dy) - 0.76 * r) - 0.24 * r,
    "square": lambda dx, dy, r: np.maximum(np.abs(dx), np.abs(dy)) - 0.86 * r,
    "diamond": lambda dx, dy, r: (np.abs(dx) + np.abs(dy) - 1.1 * r) / math.sqrt(2),
    "triangle": lambda dx, dy, r: np.maximum(
        dy - 0.8 * r, (2 * np.abs(dx) - dy - r) / math.sqrt(5)
    ),
    "cross": _cross,
    "star": _star,
    "heart": _heart,
}


def _soft(wave: Array, edge: float) -> Array:
    """0 or 1 by the sign of a wave, with an edge as wide as a pixel or two."""
    return np.clip(0.5 + wave / (2 * max(edge, 0.05)), 0, 1)


# Marks on a shape, 0 or 1, from places in radii; the last argument is the width of soft edges.
MARKS: dict[str, Callable[[Array, Array, float], Array]] = {
    "striped": lambda x, y, e: _soft(np.sin((x + y) * 7.5), 4 * e),
    "dotted": lambda x, y, e: _soft(np.cos(x * 11) * np.cos(y * 11) - 0.25, 4 * e),
    "checked": lambda x, y, e: _soft(np.sin(x * 6.5) * np.sin(y * 6.5), 3 * e),
}


def _clutter(pixels_HWC: Array, rng: np.random.Generator) -> None:
    """Small discs and bars a shade off the background, in place."""
    height, width = pixels_HWC.shape[:2]
    side = min(height, width)
    for _ in range(CLUTTER):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        half_x, half_y = rng.uniform(0.008, 0.06, 2) * side
        shade = rng.uniform(-38, 38, 3).astype(np.float32)
        round_ = rng.random() < 0.5
        left, right = max(0, int(x - half_x) - 1), int(x + half_x) + 2
        top, bottom = max(0, int(y - half_y) - 1), int(y + half_y) + 2
        box = pixels_HWC[top:bottom, left:right]
        dx = (np.arange(left, left + box.shape[1], dtype=np.float32) + 0.5 - x)[None, :] / half_x
        dy = (np.arange(top, top + box.shape[0], dtype=np.float32) + 0.5 - y)[:, None] / half_y
        far = np.hypot(dx, dy) if round_ else np.maximum(np.abs(dx), np.abs(dy))
        cover = np.clip((1 - far) * min(half_x, half_y) + 0.5, 0, 1)
        box += cover[..., None] * shade


def _write(pixels_HWC: Array, word: str, place: str) -> None:
    """A word in white with a dark edge, over everything, in place."""
    height, width = pixels_HWC.shape[:2]
    size = max(6, round(0.11 * min(height, width)))
    middle = 0.08 if place == "top" else 0.92
    mask, edge = Image.new("L", (width, height)), Image.new("L", (width, height))
    where = (width / 2, round(middle * height))
    font = ImageFont.load_default(size)
    ImageDraw.Draw(edge).text(
        where, word, fill=255, font=font, anchor="mm", stroke_width=max(1, size // 8)
    )
    ImageDraw.Draw(mask).text(where, word, fill=255, font=font, anchor="mm")
    for stencil, level in ((edge, 15.0), (mask, 245.0)):
        cover = np.asarray(stencil, dtype=np.float32)[..., None] / 255
        pixels_HWC += cover * (np.float32(level) - pixels_HWC)


def _pencil(pixels_HWC: Array) -> Array:
    """Half the colour on paper, with diagonal hatching."""
    height, width = pixels_HWC.shape[:2]
    steps = np.arange(width)[None, :] + np.arange(height)[:, None]
    hatch = 14 * np.sin(steps * (2 * math.pi / max(5.0, 0.035 * min(width, height))))
    gray = pixels_HWC.mean(-1, keepdims=True)
    faded = 0.3 * gray + 0.7 * pixels_HWC
    return np.asarray(0.72 * faded + 0.28 * 245 + hatch.astype(np.float32)[..., None])


def _night(pixels_HWC: Array) -> Array:
    """Dark and bluish, darker towards the corners."""
    height, width = pixels_HWC.shape[:2]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    dim = 0.62 - 0.14 * (x * x + y * y)
    tint = np.asarray([0.86, 0.92, 1.12], np.float32)
    return np.asarray(pixels_HWC * dim[..., None] * tint)


STYLED: dict[str, Callable[[Array], Array]] = {"pencil": _pencil, "night": _night}

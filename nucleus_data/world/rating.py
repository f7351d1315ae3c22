"""How pleasant a scene is, by a rule that is known: what a learned score is measured against.

Three parts, each 0 to 1 and smooth in the places and colours of a scene:

- *composition*: how near the shapes' common centre (weighted by area) is to the picture's;
- *contrast*: how far the shapes' colours are from the background's, in CIELAB;
- *harmony*: how well the hues of the shapes go together (equal or opposite hues well, a quarter of
  the colour circle apart badly; white and black go with everything).

The rating is 1 + 9 * sigmoid(5 * (0.4 contrast + 0.35 composition + 0.25 harmony - 0.58)). It is no
model of taste: it is a number that a small network can learn from pixels, with the truth at hand.
"""

import math

import numpy as np

from nucleus_data.world.scenes import BACKGROUNDS, COLORS, Scene, Shape

RATER_SIGMA = 0.8
LOWEST, HIGHEST = 1.0, 10.0


def pleasantness(scene: Scene) -> float:
    """The rating without noise.

    Args:
        scene: The facts.

    Returns:
        1 to 10.
    """
    parts = 0.4 * contrast(scene) + 0.35 * composition(scene) + 0.25 * harmony(scene)
    return LOWEST + (HIGHEST - LOWEST) / (1 + math.exp(-5 * (parts - 0.58)))


def ratings(scene: Scene, raters: int = 3) -> list[float]:
    """What people would have said: the rating plus normal noise of 0.8, within 1 to 10.

    Args:
        scene: The facts.
        raters: How many.

    Returns:
        One value a rater, a function of the arguments alone.
    """
    rng = np.random.default_rng([scene.seed, scene.index, 5])
    noisy = pleasantness(scene) + RATER_SIGMA * rng.standard_normal(raters)
    return [round(float(v), 2) for v in np.clip(noisy, LOWEST, HIGHEST)]


def composition(scene: Scene) -> float:
    """1 when the shapes' common centre is the picture's, falling with its distance."""
    weights = [s.radius**2 for s in scene.shapes]
    x = sum(w * s.x for w, s in zip(weights, scene.shapes, strict=True)) / sum(weights)
    y = sum(w * s.y for w, s in zip(weights, scene.shapes, strict=True)) / sum(weights)
    return math.exp(-((math.hypot(x - 0.5, y - 0.5) / 0.25) ** 2))


def contrast(scene: Scene) -> float:
    """Mean distance (CIE76) of the shapes' colours from the background's, saturating at 1."""
    ground = lab(BACKGROUNDS[scene.background])
    far = [math.dist(lab(COLORS[s.color]), ground) for s in scene.shapes]
    return float(np.mean([1 - math.exp(-f / 60) for f in far]))


def harmony(scene: Scene) -> float:
    """Mean over pairs of shapes (1 for a single shape) of how their hues agree."""
    shapes = scene.shapes
    pairs = [(a, b) for i, a in enumerate(shapes) for b in shapes[i + 1 :]]
    return float(np.mean([_agree(a, b) for a, b in pairs])) if pairs else 1.0


def _agree(a: Shape, b: Shape) -> float:
    neutral = {"white", "black"}
    if a.color in neutral or b.color in neutral:
        return 0.8
    hues = [math.atan2(*lab(COLORS[s.color])[:0:-1]) for s in (a, b)]
    return 0.5 + 0.5 * math.cos(2 * (hues[0] - hues[1]))


def lab(rgb: tuple[int, int, int]) -> tuple[float, float, float]:
    """CIELAB (D65) of an sRGB colour (IEC 61966-2-1; CIE 15).

    Args:
        rgb: 0 to 255 each.

    Returns:
        L (0 to 100), a, b.
    """
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in rgb)
    ]
    r, g, b = linear
    xyz = (
        (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.95047,
        0.2126 * r + 0.7152 * g + 0.0722 * b,
        (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.08883,
    )
    fx, fy, fz = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in xyz)
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)

"""Kinds of damage beyond those of the issue: `FURTHER`, and `UNSEEN`, which nothing was fitted on.

Of the kinds of `FURTHER`, kin are among what was fitted on (`drawn`). Each is saved in one of five
ways, as the others.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from scripts.copies.damage import Alter, R, Variant, any_way, coded, scaled


def _levels(picture: Image.Image, change: Callable[[np.ndarray], np.ndarray]) -> Image.Image:
    levels = change(np.asarray(picture, np.float32))
    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))


def moved(pixels: int, across: bool) -> Alter:
    """A blur along one axis."""

    def alter(picture: Image.Image) -> Image.Image:
        axis = 1 if across else 0
        return _levels(
            picture,
            lambda p: np.mean([np.roll(p, s - pixels // 2, axis) for s in range(pixels)], axis=0),
        )

    return alter


def vignette(strength: float) -> Alter:
    """Corners darker than the middle."""

    def alter(picture: Image.Image) -> Image.Image:
        y, x = np.mgrid[-1 : 1 : picture.height * 1j, -1 : 1 : picture.width * 1j]
        return _levels(picture, lambda p: p * (1 - strength * (x * x + y * y) / 2)[..., None])

    return alter


def ordered(levels: int) -> Alter:
    """A few levels in each channel, by a pattern of four by four pixels."""
    pattern = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) / 16 - 0.5

    def alter(picture: Image.Image) -> Image.Image:
        tiled = np.tile(pattern, (picture.height // 4 + 1, picture.width // 4 + 1))
        step = 255 / (levels - 1)
        shift = tiled[: picture.height, : picture.width, None] * step
        return _levels(picture, lambda p: np.rint((p + shift) / step) * step)

    return alter


def dated(picture: Image.Image) -> Image.Image:
    """A date in a corner, as cameras print."""
    result, side = picture.copy(), min(picture.size)
    font = ImageFont.load_default(max(10, round(0.06 * side)))
    where = (0.96 * picture.width, 0.95 * picture.height)
    ImageDraw.Draw(result).text(where, "98 7 24", font=font, fill="#ff8020", anchor="rs")
    return result


def badge(picture: Image.Image) -> Image.Image:
    """A badge of two colours in a corner."""
    result, side = picture.copy(), min(picture.size)
    box = (side // 20, side // 20, side // 20 + side // 5, side // 20 + side // 8)
    draw = ImageDraw.Draw(result)
    draw.rounded_rectangle(box, side // 40, fill="#d01030", outline="white", width=3)
    middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    draw.text(middle, "NEW", font=ImageFont.load_default(side // 14), fill="white", anchor="mm")
    return result


def striped(picture: Image.Image) -> Image.Image:
    """Every other row darker, as of a filmed screen."""
    rows = np.where(np.arange(picture.height) % 2, 0.85, 1.0)[:, None, None]
    return _levels(picture, lambda p: p * rows)


def bars(picture: Image.Image) -> Image.Image:
    """Black bars above and below."""
    high = round(0.03 * picture.height)
    return ImageOps.expand(picture, (0, high, 0, high), "black")


def turned_a_little(picture: Image.Image) -> Image.Image:
    """Turned by half a degree, and the corners cut off."""
    turned = picture.rotate(0.5, R.BICUBIC)
    x, y = round(0.01 * picture.width), round(0.01 * picture.height)
    return turned.crop((x, y, picture.width - x, picture.height - y))


def in_steps(picture: Image.Image) -> Image.Image:
    """Enlarged three times by a fifth."""
    for _ in range(3):
        picture = scaled(picture, 1.2, R.BICUBIC)
    return picture


def tiny_noise(picture: Image.Image) -> Image.Image:
    """Noise in the colours alone, in squares of two pixels."""
    rng = np.random.default_rng(picture.width)
    shape = (picture.height // 2 + 1, picture.width // 2 + 1, 3)
    noise = rng.normal(0, 16, shape).repeat(2, 0).repeat(2, 1)[: picture.height, : picture.width]
    noise -= noise @ np.array([0.299, 0.587, 0.114])[:, None]
    return _levels(picture, lambda p: p + noise)


def smeared(picture: Image.Image) -> Image.Image:
    """The most frequent level around each pixel, as of an oil painting."""
    return picture.filter(ImageFilter.ModeFilter(5))


def filtered(picture: Image.Image) -> Image.Image:
    """A filter of a photo application: more contrast and colour, a warm tint."""
    strong = ImageEnhance.Color(ImageEnhance.Contrast(picture).enhance(1.35)).enhance(1.7)
    return _levels(strong, lambda p: p * np.array([1.08, 1.0, 0.85]) + np.array([8, 0, -4]))


def sharp_and_large(picture: Image.Image) -> Image.Image:
    """Enlarged by half, then sharpened."""
    return scaled(picture, 1.5, R.BICUBIC).filter(ImageFilter.UnsharpMask(1.5, 80, 0))


def low_and_large(picture: Image.Image) -> Image.Image:
    """Saved as a low JPEG, then enlarged by a quarter."""
    return scaled(coded("JPEG", quality=35)(picture), 1.25, R.BICUBIC)


KINDS: tuple[tuple[str, Alter, bool], ...] = (
    ("blurred along one axis", moved(5, True), True),
    ("blurred along one axis", moved(7, False), True),
    ("darker corners", vignette(0.7), True),
    ("dithered in a pattern", ordered(4), False),
    ("a date in a corner", dated, True),
    ("a badge in a corner", badge, True),
    ("striped", striped, False),
    ("bars above and below", bars, False),
    ("turned by half a degree", turned_a_little, False),
    ("enlarged in steps", in_steps, False),
    ("noise in the colours", tiny_noise, True),
    ("smeared", smeared, False),
    ("a photo filter", filtered, True),
    ("enlarged and sharpened", sharp_and_large, True),
    ("low JPEG, enlarged", low_and_large, True),
    ("solarised", lambda p: ImageOps.solarize(p, 160), False),
    ("equalised", ImageOps.equalize, False),
)
BEYOND = tuple(
    Variant(kind, str(i), lambda p, n, alter=alter: any_way(alter(p), n), held=True)
    for i, (kind, alter, _) in enumerate(KINDS)
)
FURTHER = tuple(v for v, (_, _, kin) in zip(BEYOND, KINDS, strict=True) if kin)
UNSEEN = tuple(v for v, (_, _, kin) in zip(BEYOND, KINDS, strict=True) if not kin)

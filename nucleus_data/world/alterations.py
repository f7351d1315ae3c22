"""Faults and copies made on pixels: picture in, picture out, each in three strengths.

`FAULTS` are pictures that a rule or a score should find; `COPIES` are pictures that show what
another one shows. A strength is 0 (low), 1 (middle) or 2 (high).
"""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

from nucleus_data.world.painting import render
from nucleus_data.world.scenes import scene

Alter = Callable[[Image.Image, int, np.random.Generator], Image.Image]
TEXT = ("lorem", "ipsum", "dolor", "sit", "amet", "elit", "tempor", "labore", "magna", "aliqua")
UNRELATED = 2**31


def _levels(picture: Image.Image, change: Callable[[np.ndarray], np.ndarray]) -> Image.Image:
    levels = change(np.asarray(picture, dtype=np.float32))
    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))


def _scaled(picture: Image.Image, width: float, height: float) -> Image.Image:
    size = (max(1, round(width)), max(1, round(height)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _blank(picture: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    """One colour, with a grain of 2, 1 or no levels."""
    color = rng.uniform(0, 255, 3)
    grain = (2.0, 1.0, 0.0)[strength] * rng.standard_normal((picture.height, picture.width, 1))
    return _levels(picture, lambda levels: np.broadcast_to(color, levels.shape) + grain)


def _over_exposed(picture: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    return _levels(picture, lambda levels: levels * 1.1 + (80, 140, 210)[strength])


def _under_exposed(picture: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    return _levels(picture, lambda levels: levels * (0.3, 0.1, 0.04)[strength])


def _blurred(picture: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(max(picture.size) / (150, 60, 30)[strength]))


def _tiny(picture: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    side = (48, 28, 16)[strength]
    return picture.resize((side, side), Image.Resampling.BOX)


def _huge(picture: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    width = (7000, 8200, 12_000)[strength]
    return picture.resize((width, width // 16), Image.Resampling.BILINEAR)


def _extreme_aspect(picture: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    ratio = (3.5, 8, 20)[strength]
    return picture.resize((80 * round(ratio * 2) // 2, 80), Image.Resampling.BICUBIC)


def _watermarked(picture: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    """The same words again and again, slanted, at 25, 45 or 70 % of white."""
    side = min(picture.size)
    big = round(1.5 * max(picture.size))  # covers the corners when it is turned
    layer = Image.new("L", (big, big))
    draw, font = ImageDraw.Draw(layer), ImageFont.load_default(max(9, round(0.1 * side)))
    step = max(10, round(0.26 * side))
    for row, y in enumerate(range(0, big, step)):
        draw.text(((row % 2) * -0.3 * side, y), "STOCK PHOTO  " * 12, fill=255, font=font)
    layer = layer.rotate(float(rng.uniform(20, 40)), Image.Resampling.BILINEAR)
    left, top = (big - picture.width) // 2, (big - picture.height) // 2
    layer = layer.crop((left, top, left + picture.width, top + picture.height))
    opacity = (0.25, 0.45, 0.7)[strength]
    mask = layer.point(lambda level: round(level * opacity))
    return Image.composite(Image.new("RGB", picture.size, "white"), picture, mask)


def _dense_text(picture: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    """4, 8 or 14 lines of text on a light panel."""
    lines = (4, 8, 14)[strength]
    result = picture.copy()
    draw = ImageDraw.Draw(result)
    height = picture.height / 15
    font = ImageFont.load_default(max(6, round(0.8 * height)))
    top = round((picture.height - lines * height) / 2)
    draw.rectangle((0, top - 4, picture.width, top + round(lines * height) + 4), fill=(242,) * 3)
    for line in range(lines):
        words = " ".join(TEXT[int(i)] for i in rng.integers(len(TEXT), size=16))
        draw.text((6, top + line * height), words, fill=(20, 20, 20), font=font)
    return result


def _unsafe(picture: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    """The stand-in for unsafe content: a black and yellow striped octagon with a white rim."""
    radius = (0.1, 0.16, 0.24)[strength] * min(picture.size)
    x = rng.uniform(radius, picture.width - radius)
    y = rng.uniform(radius, picture.height - radius)
    dx = np.arange(picture.width, dtype=np.float32)[None, :] + 0.5 - np.float32(x)
    dy = np.arange(picture.height, dtype=np.float32)[:, None] + 0.5 - np.float32(y)
    ax, ay = np.abs(dx), np.abs(dy)
    # An octagon is what a square and a square on its corner have in common.
    distance = np.maximum(np.maximum(ax, ay), (ax + ay) / np.float32(math.sqrt(2))) - radius
    stripes = np.clip(0.5 + 3 * np.sin((dx + dy) * (9 / radius)), 0, 1)[..., None]
    sign = stripes * np.asarray([250, 210, 0], np.float32)
    rim = np.clip(distance + 0.14 * radius + 0.5, 0, 1)[..., None]
    sign = sign + rim * (np.float32(255) - sign)
    cover = np.clip(0.5 - distance, 0, 1)[..., None]
    return _levels(picture, lambda levels: levels + cover * (sign - levels))


FAULTS: dict[str, Alter] = {
    "blank": _blank,
    "over_exposed": _over_exposed,
    "under_exposed": _under_exposed,
    "blurred": _blurred,
    "tiny": _tiny,
    "huge": _huge,
    "extreme_aspect": _extreme_aspect,
    "watermarked": _watermarked,
    "dense_text": _dense_text,
    "unsafe": _unsafe,
}


def drifted(picture: Image.Image, strength: int) -> Image.Image:
    """The picture with a little unrelated texture over it: one link of a chain."""
    other = render(scene(UNRELATED, 0), *picture.size)
    return Image.blend(picture, other, (0.05, 0.09, 0.13)[strength])


def _resized(picture: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    factor = (0.9, 0.6, 0.35)[strength]
    return _scaled(picture, picture.width * factor, picture.height * factor)


def _crop(shares: tuple[float, float, float]) -> Alter:
    def alter(picture: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
        """Cuts a share of each side's length off, split at random between its two ends."""
        width, height = picture.size
        cut_x, cut_y = shares[strength] * width, shares[strength] * height
        left, top = rng.uniform(0, cut_x), rng.uniform(0, cut_y)
        box = (round(left), round(top), round(width - cut_x + left), round(height - cut_y + top))
        return picture.crop(box)

    return alter


def _brighter(picture: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    factor = (1.06, 1.15, 1.3)[strength]
    factor = factor if rng.random() < 0.5 else 1 / factor
    return _levels(picture, lambda levels: levels * factor)


def _logo(picture: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    """A dark plate with letters in a corner, 7, 11 or 16 % of the shorter side high."""
    high = max(6, round((0.07, 0.11, 0.16)[strength] * min(picture.size)))
    wide, result = 2 * high, picture.copy()
    left = 0 if rng.random() < 0.5 else picture.width - wide
    top = 0 if rng.random() < 0.5 else picture.height - high
    draw = ImageDraw.Draw(result)
    draw.rectangle((left, top, left + wide - 1, top + high - 1), fill=(30, 30, 60))
    font = ImageFont.load_default(max(5, round(0.7 * high)))
    draw.text((left + high, top + high / 2), "tv1", fill="white", font=font, anchor="mm")
    return result


def _bordered(picture: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    width = max(1, round((0.02, 0.05, 0.1)[strength] * min(picture.size)))
    return ImageOps.expand(picture, width, ("white", "black")[int(rng.integers(2))])


def _banner(picture: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    """A strip with a caption below the picture, 8, 14 or 20 % of its height."""
    high = max(8, round((0.08, 0.14, 0.2)[strength] * picture.height))
    result = Image.new("RGB", (picture.width, picture.height + high), (245, 245, 245))
    result.paste(picture, (0, 0))
    words = " ".join(TEXT[int(i)] for i in rng.integers(len(TEXT), size=4))
    font = ImageFont.load_default(max(6, round(0.6 * high)))
    where = (picture.width / 2, picture.height + high / 2)
    ImageDraw.Draw(result).text(where, words, fill=(10, 10, 10), font=font, anchor="mm")
    return result


COPIES: dict[str, Alter] = {
    "reencoded": lambda picture, strength, rng: picture,
    "resized": _resized,
    "cropped": _crop((0.02, 0.04, 0.07)),
    "cropped_more": _crop((0.12, 0.2, 0.3)),
    "brighter": _brighter,
    "mirrored": lambda picture, strength, rng: ImageOps.mirror(picture),
    "logo": _logo,
    "bordered": _bordered,
    "banner": _banner,
    "chain_start": lambda picture, strength, rng: drifted(picture, strength),
    "chain": lambda picture, strength, rng: drifted(drifted(picture, strength), strength),
}

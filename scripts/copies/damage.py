"""What is done to pictures to make worse copies of them, and how they are saved."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

Alter = Callable[[Image.Image], Image.Image]
R = Image.Resampling
SAVED = (
    ("JPEG", {"quality": 92}),
    ("PNG", {"compress_level": 1}),
    ("JPEG", {"quality": 80}),
    ("WEBP", {"quality": 90, "method": 1}),
    ("JPEG", {"quality": 97, "subsampling": 0}),
)


@dataclass(frozen=True)
class Variant:
    """One way to make a copy.

    Attributes:
        kind: What is done, in a few words.
        name: How much of it.
        make: From a picture and a number that picks how it is saved to the file.
        held: Whether it is for the test alone.
        smaller: Whether the copy differs by its size alone.
    """

    kind: str
    name: str
    make: Callable[[Image.Image, int], bytes]
    held: bool = False
    smaller: bool = False


def saved(picture: Image.Image, form: str, **options: object) -> bytes:
    """A picture as a file."""
    sink = io.BytesIO()
    picture.save(sink, form, **options)
    return sink.getvalue()


def any_way(picture: Image.Image, number: int) -> bytes:
    """A picture saved in one of `SAVED`."""
    form, options = SAVED[number % len(SAVED)]
    return saved(picture, form, **options)


def scaled(picture: Image.Image, factor: float, how: R = R.LANCZOS, x: float = 1.0) -> Image.Image:
    """A picture scaled, and stretched by `x` across."""
    size = (round(picture.width * factor * x), round(picture.height * factor))
    return picture.resize((max(1, size[0]), max(1, size[1])), how)


def _levels(picture: Image.Image, change: Callable[[np.ndarray], np.ndarray]) -> Image.Image:
    levels = change(np.asarray(picture, np.float32))
    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))


def noisy(sigma: float, grey: bool) -> Alter:
    """Gaussian noise, the same in all channels (`grey`) or not."""

    def alter(picture: Image.Image) -> Image.Image:
        rng = np.random.default_rng(picture.width)
        shape = (picture.height, picture.width, 1 if grey else 3)
        return _levels(picture, lambda levels: levels + rng.normal(0, sigma, shape))

    return alter


def salted(share: float) -> Alter:
    """A share of the pixels black or white."""

    def alter(picture: Image.Image) -> Image.Image:
        rng = np.random.default_rng(picture.width)
        pixels, drawn = np.array(picture), rng.random((picture.height, picture.width))
        pixels[drawn < share / 2], pixels[drawn > 1 - share / 2] = 0, 255
        return Image.fromarray(pixels)

    return alter


def cast(*factors: float) -> Alter:
    """Each channel times its factor."""
    return lambda p: _levels(p, lambda levels: levels * np.array(factors, np.float32))


def gamma(exponent: float) -> Alter:
    """Levels raised to a power."""
    return lambda p: _levels(p, lambda levels: 255 * (levels / 255) ** exponent)


def contrast(factor: float, shift: float = 0.0) -> Alter:
    """Levels spread around the middle, and shifted."""
    return lambda p: _levels(p, lambda levels: (levels - 128) * factor + 128 + shift)


def text(size: float, lines: int) -> Alter:
    """Lines of white words with a black rim."""

    def alter(picture: Image.Image) -> Image.Image:
        result, side = picture.copy(), min(picture.size)
        draw, font = ImageDraw.Draw(result), ImageFont.load_default(max(9, round(size * side)))
        for line in range(lines):
            y = picture.height * (line + 1) / (lines + 1)
            where = (picture.width / 2, y)
            width = max(1, round(size * side / 12))
            said, paint = "SAMPLE WORDS HERE", {"fill": "white", "stroke_fill": "black"}
            draw.text(where, said, font=font, anchor="mm", stroke_width=width, **paint)
        return result

    return alter


def stamped(opacity: float) -> Alter:
    """Words over all of the picture, again and again."""

    def alter(picture: Image.Image) -> Image.Image:
        mask = Image.new("L", picture.size)
        side = min(picture.size)
        draw, font = ImageDraw.Draw(mask), ImageFont.load_default(max(9, round(0.08 * side)))
        for row, y in enumerate(range(0, picture.height, max(12, round(0.2 * side)))):
            draw.text((-40 * (row % 2), y), "STOCK PHOTO   " * 12, fill=255, font=font)
        mask = mask.point(lambda level: round(level * opacity))
        return Image.composite(Image.new("RGB", picture.size, "white"), picture, mask)

    return alter


def screenshot(cut: float, factor: float) -> Alter:
    """Some of each side cut off, then scaled to another size."""

    def alter(picture: Image.Image) -> Image.Image:
        x, y = round(picture.width * cut), round(picture.height * cut)
        inner = picture.crop((x, y, picture.width - x, picture.height - y))
        return scaled(inner, factor, R.BICUBIC)

    return alter


def framed(share: float, colour: str) -> Alter:
    """A frame of one colour; its width is a share of the shorter side."""
    return lambda p: ImageOps.expand(p, max(2, round(share * min(p.size))), colour)


def thumbnail(factor: float, how: R) -> Alter:
    """Scaled down, and back to the size that it had."""
    return lambda p: scaled(p, factor).resize(p.size, how)


def coded(form: str, **options: object) -> Alter:
    """Saved in a format and read again."""
    return lambda p: Image.open(io.BytesIO(saved(p, form, **options))).convert("RGB")


def palette(colours: int, dither: bool) -> Alter:
    """So many colours, stored as RGB again."""
    how = Image.Dither.FLOYDSTEINBERG if dither else Image.Dither.NONE
    return lambda p: p.quantize(colours, dither=how).convert("RGB")


def web_safe(picture: Image.Image) -> Image.Image:
    """The 216 colours of the web palette, dithered."""
    return picture.convert("P", palette=Image.Palette.WEB).convert("RGB")


def grey(picture: Image.Image) -> Image.Image:
    """Luma alone."""
    return picture.convert("L")


def tinted(picture: Image.Image) -> Image.Image:
    """Luma alone, in brown."""
    return ImageOps.colorize(picture.convert("L"), (20, 10, 0), (255, 235, 200))


def colour(factor: float) -> Alter:
    """Saturation times a factor."""
    return lambda p: ImageEnhance.Color(p).enhance(factor)


def sharper(radius: float, percent: int, times: int = 1) -> Alter:
    """An unsharp mask, once or more."""

    def alter(picture: Image.Image) -> Image.Image:
        for _ in range(times):
            picture = picture.filter(ImageFilter.UnsharpMask(radius, percent, 0))
        return picture

    return alter


def blurred(sigma: float) -> Alter:
    """A Gaussian blur."""
    return lambda p: p.filter(ImageFilter.GaussianBlur(sigma))

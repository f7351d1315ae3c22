"""Worse copies to fit on: the kinds of `variants`, each by an amount that is drawn."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from scripts.copies.damage import (
    Alter,
    R,
    blurred,
    cast,
    coded,
    colour,
    contrast,
    framed,
    gamma,
    grey,
    noisy,
    palette,
    salted,
    saved,
    scaled,
    screenshot,
    sharper,
    stamped,
    text,
    thumbnail,
    tinted,
)

Draw = np.random.Generator
HOW = (R.BILINEAR, R.BICUBIC, R.LANCZOS)
COLOURS = ("white", "black", "#203060", "#c8b090", "#808080", "#f4f4f0")
SMALLER = "smaller"


def _pick(rng: Draw, of: tuple) -> object:
    return of[int(rng.integers(len(of)))]


def _file(rng: Draw, picture: Image.Image) -> bytes:
    """A picture saved in a way that is drawn, at a quality that shows little."""
    form = int(rng.integers(5))
    if form == 0:
        return saved(picture, "PNG", compress_level=1)
    if form == 1:
        return saved(picture, "WEBP", quality=int(rng.integers(82, 96)), method=1)
    subsampling = int(_pick(rng, (0, 2)))  # type: ignore[call-overload]
    return saved(picture, "JPEG", quality=int(rng.integers(78, 98)), subsampling=subsampling)


def _enlarged(rng: Draw) -> Alter:
    factor = float(rng.uniform(1.15, 3.2))
    how = _pick(rng, (*HOW, *HOW, R.NEAREST))
    return lambda p: scaled(p, factor, how)  # type: ignore[arg-type]


def _sharper(rng: Draw) -> Alter:
    if rng.random() < 0.25:
        times = int(rng.integers(2, 5))

        def alter(picture: Image.Image) -> Image.Image:
            for _ in range(times):
                picture = picture.filter(ImageFilter.SHARPEN)
            return picture

        return alter
    radius = float(rng.uniform(0.8, 5.5))
    return sharper(radius, int(rng.uniform(120, 320)), 1 + int(rng.random() < 0.2))


def _blurred(rng: Draw) -> Alter:
    kind, size = int(rng.integers(4)), float(rng.uniform(0.8, 3.2))
    if kind == 0:
        return lambda p: p.filter(ImageFilter.BoxBlur(size))
    if kind == 1:
        side = int(_pick(rng, (3, 5, 5, 7)))  # type: ignore[call-overload]
        return lambda p: p.filter(ImageFilter.MedianFilter(side))
    return blurred(size)


def _noisy(rng: Draw) -> Alter:
    if rng.random() < 0.2:
        return salted(float(rng.uniform(0.005, 0.04)))
    return noisy(float(rng.uniform(4, 22)), bool(rng.random() < 0.5))


def _few(rng: Draw) -> Alter:
    kind = int(rng.integers(5))
    if kind == 0:
        bits = int(rng.integers(2, 5))
        return lambda p: ImageOps.posterize(p, bits)
    if kind == 1:
        return lambda p: p.convert("P", palette=Image.Palette.WEB).convert("RGB")
    if kind == 2 and rng.random() < 0.5:
        return lambda p: p.convert("1").convert("RGB")
    return palette(int(2 ** rng.uniform(3, 7)), bool(rng.random() < 0.5))


def _words(rng: Draw) -> Alter:
    if rng.random() < 0.5:
        return stamped(float(rng.uniform(0.2, 0.7)))
    return text(float(rng.uniform(0.05, 0.13)), int(rng.integers(1, 4)))


def _framed(rng: Draw) -> Alter:
    return framed(float(rng.uniform(0.012, 0.06)), str(_pick(rng, COLOURS)))


def _cropped(rng: Draw) -> Alter:
    cut = float(rng.uniform(0.006, 0.025))
    if rng.random() < 0.3:

        def alter(picture: Image.Image) -> Image.Image:
            x, y = max(1, round(picture.width * cut)), max(1, round(picture.height * cut))
            return picture.crop((x, y, picture.width - x, picture.height - y))

        return alter
    factor = 1 / (1 - 2 * cut) if rng.random() < 0.2 else float(rng.uniform(0.7, 1.45))
    return screenshot(cut, factor)


def _clipped(rng: Draw) -> Alter:
    kind = int(rng.integers(3))
    if kind == 0:
        return contrast(float(rng.uniform(1.45, 2.3)))
    if kind == 1:
        return contrast(
            float(rng.uniform(1.1, 1.5)), float(rng.uniform(30, 65) * rng.choice([-1, 1]))
        )
    return cast(*(float(rng.uniform(1.3, 1.8)),) * 3)


def _faded(rng: Draw) -> Alter:
    kind = int(rng.integers(4))
    if kind == 0:
        return contrast(float(rng.uniform(0.4, 0.7)), float(rng.uniform(-15, 15)))
    if kind == 1:
        return cast(*(float(rng.uniform(0.4, 0.65)),) * 3)
    return gamma(float(rng.uniform(0.38, 0.6) if kind == 2 else rng.uniform(1.8, 2.6)))


def _cast(rng: Draw) -> Alter:
    factors = [1.0, float(rng.uniform(0.85, 1.1)), float(rng.uniform(0.5, 0.8))]
    factors[0] = float(rng.uniform(1.0, 1.3))
    order = rng.permutation(3)
    return cast(*(factors[i] for i in order))


def _again(rng: Draw) -> Alter:
    kind = int(rng.integers(4))
    if kind == 0:
        return coded("WEBP", method=1, quality=int(rng.integers(5, 40)))
    if kind == 1:
        return coded("AVIF", quality=int(rng.integers(15, 40)), speed=10)
    return coded("JPEG", quality=int(rng.integers(12, 65)))


def _thumbnail(rng: Draw) -> Alter:
    how = _pick(rng, (*HOW, R.NEAREST))
    return thumbnail(float(rng.uniform(0.22, 0.75)), how)  # type: ignore[arg-type]


def _stretched(rng: Draw) -> Alter:
    x, how = 1 + float(rng.uniform(0.008, 0.028) * rng.choice([-1, 1])), _pick(rng, HOW)
    if rng.random() < 0.3:
        return lambda p: p.resize((p.width, max(1, round(p.height * x))), how)  # type: ignore[arg-type]
    return lambda p: scaled(p, 1, how, x=x)  # type: ignore[arg-type]


def _mark(rng: Draw) -> Alter:
    """A few letters, a box or a disc of one colour somewhere."""
    x, y, size = rng.uniform(0.05, 0.8), rng.uniform(0.05, 0.85), rng.uniform(0.04, 0.15)
    colour, kind = str(_pick(rng, COLOURS)), int(rng.integers(4))
    letters = "".join(rng.choice(list("ABCDEFGHKLMNOPRSTUV0123456789 "), int(rng.integers(3, 12))))

    def alter(picture: Image.Image) -> Image.Image:
        result, side = picture.copy(), min(picture.size)
        draw, left, top = ImageDraw.Draw(result), x * picture.width, y * picture.height
        wide, high = 1.6 * size * side, size * side
        if kind >= 2:
            draw.text((left, top), letters, colour, ImageFont.load_default(max(9, high)))
        elif kind:
            draw.rectangle((left, top, left + wide, top + high), colour, "white")
        else:
            draw.ellipse((left, top, left + wide, top + high), colour)
        return result

    return alter


def _filtered(rng: Draw) -> Alter:
    """What a photo application does: a curve, more colour, a tint."""
    strength, saturation = float(rng.uniform(1.15, 1.5)), float(rng.uniform(1.2, 2.0))
    tint = cast(*(float(rng.uniform(0.85, 1.12)) for _ in range(3)))
    return lambda p: tint(
        ImageEnhance.Color(ImageEnhance.Contrast(p).enhance(strength)).enhance(saturation)
    )


def _enlarged_and_more(rng: Draw) -> Alter:
    """Saved low, or sharpened, and enlarged."""
    first, last = coded("JPEG", quality=int(rng.integers(20, 60))), _enlarged(rng)
    mask = sharper(float(rng.uniform(1, 2.5)), int(rng.uniform(50, 160)))
    if rng.random() < 0.5:
        return lambda p: last(first(p))
    return lambda p: mask(last(p))


def _shaded(rng: Draw) -> Alter:
    """Darker, or lighter, on one side."""
    strength, across = float(rng.uniform(0.3, 0.7)), bool(rng.random() < 0.5)

    def alter(picture: Image.Image) -> Image.Image:
        levels = np.asarray(picture, np.float32)
        ramp = np.linspace(1, 1 - strength, levels.shape[1 if across else 0])
        shade = ramp[None, :, None] if across else ramp[:, None, None]
        return Image.fromarray(np.rint(levels * shade).astype(np.uint8))

    return alter


def _colour_noise(rng: Draw) -> Alter:
    """Noise in the colours, in squares of one to three pixels."""
    sigma, side, seed = (
        float(rng.uniform(8, 22)),
        int(rng.integers(1, 4)),
        int(rng.integers(1 << 30)),
    )

    def alter(picture: Image.Image) -> Image.Image:
        height, width = picture.height, picture.width
        noise = np.random.default_rng(seed).normal(
            0, sigma, (height // side + 1, width // side + 1, 3)
        )
        noise = noise.repeat(side, 0).repeat(side, 1)[:height, :width]
        noise -= noise.mean(axis=2, keepdims=True)
        levels = np.clip(np.asarray(picture, np.float32) + noise, 0, 255)
        return Image.fromarray(np.rint(levels).astype(np.uint8))

    return alter


def _one_axis(rng: Draw) -> Alter:
    """Blurred along a diagonal."""
    count, down = int(rng.integers(4, 9)), int(rng.choice([-1, 1]))

    def alter(picture: Image.Image) -> Image.Image:
        levels = np.asarray(picture, np.float32)
        moved = [np.roll(levels, (down * n, n), (0, 1)) for n in range(count)]
        return Image.fromarray(np.rint(np.mean(moved, axis=0)).astype(np.uint8))

    return alter


# What came later, so that what is drawn before it stays.
MORE: dict[str, tuple[Callable[[Draw], Alter], int]] = {
    "marked": (_mark, 3),
    "photo filter": (_filtered, 1),
    "enlarged and more": (_enlarged_and_more, 2),
    "shaded": (_shaded, 1),
    "colour noise": (_colour_noise, 1),
    "blurred along a diagonal": (_one_axis, 1),
}
ALTERED: dict[str, tuple[Callable[[Draw], Alter], int]] = {
    "grey": (lambda rng: grey if rng.random() < 0.5 else tinted, 1),
    "desaturated": (lambda rng: colour(float(rng.uniform(0.05, 0.4))), 1),
    "enlarged": (_enlarged, 4),
    "over-sharpened": (_sharper, 3),
    "saved again": (_again, 3),
    "blurred": (_blurred, 3),
    "noisy": (_noisy, 2),
    "few colours": (_few, 3),
    "words over it": (_words, 2),
    "framed": (_framed, 2),
    "cropped and scaled": (_cropped, 3),
    "clipped": (_clipped, 2),
    "faded": (_faded, 2),
    "cast": (_cast, 2),
    "thumbnail enlarged": (_thumbnail, 2),
    "stretched": (_stretched, 3),
}


def _low(rng: Draw, picture: Image.Image) -> bytes:
    """Saved once, at a low quality, or in few colours."""
    kind = int(rng.integers(5))
    if kind == 0:
        return saved(picture, "WEBP", method=1, quality=int(rng.integers(15, 45)))
    if kind == 1:
        return saved(picture, "AVIF", quality=int(rng.integers(25, 50)), speed=10)
    if kind == 2:
        return saved(picture.quantize(int(2 ** rng.uniform(4, 8))), "GIF")
    return saved(picture, "JPEG", quality=int(rng.integers(15, 72)))


def _smaller(rng: Draw, picture: Image.Image) -> bytes:
    factor, how = float(rng.uniform(0.35, 0.97)), _pick(rng, (*HOW, R.BOX))
    return _file(rng, scaled(picture, factor, how))  # type: ignore[arg-type]


def drawn(picture: Image.Image, seed: int) -> list[tuple[str, bytes]]:
    """Worse copies of a picture: kind and file. All kinds, some of each."""
    rng = np.random.default_rng(seed)
    made = [
        (kind, _file(rng, alter(rng)(picture)))
        for kind, (alter, count) in ALTERED.items()
        for _ in range(count)
    ]
    made += [("recompressed", _low(rng, picture)) for _ in range(3)]
    made += [(SMALLER, _smaller(rng, picture)) for _ in range(5)]
    made += [
        (kind, _file(rng, alter(rng)(picture)))
        for kind, (alter, count) in MORE.items()
        for _ in range(count)
    ]
    return made

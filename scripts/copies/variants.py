"""Worse copies of a picture, as files: by kind, each in some variants.

A variant is from a picture to a file. Most are saved in a way that the number of the picture picks,
so that no kind can be told by its format or by its bytes alone. The variants with `held` were not
used when the default order of `select.prefer` was fitted.
"""

from collections.abc import Callable

from PIL import Image, ImageFilter, ImageOps

from scripts.copies.damage import (
    SAVED,
    Alter,
    R,
    Variant,
    any_way,
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
    web_safe,
)


def _altered(kind: str, *variants: tuple[str, Alter] | tuple[str, Alter, bool]) -> list[Variant]:
    def made(alter: Alter) -> Callable[[Image.Image, int], bytes]:
        return lambda picture, number: any_way(alter(picture), number)

    return [Variant(kind, v[0], made(v[1]), *v[2:]) for v in variants]


def _file(kind: str, name: str, form: str, held: bool = False, **options: object) -> Variant:
    return Variant(kind, name, lambda p, n: saved(p, form, **options), held)


def _smaller(name: str, factor: float, how: R, held: bool, *options: object) -> Variant:
    def make(picture: Image.Image, number: int) -> bytes:
        form, more = options or SAVED[number % len(SAVED)]
        return saved(scaled(picture, factor, how), str(form), **dict(more))  # type: ignore[call-overload]

    return Variant("smaller", name, make, held, smaller=True)


HELD = True
SHARPEN = ImageFilter.SHARPEN
VARIANTS = (
    *_altered("grey", ("luma", grey), ("sepia", tinted, HELD)),
    *_altered(
        "desaturated", ("0.1", colour(0.1)), ("0.3", colour(0.3)), ("0.2", colour(0.2), HELD)
    ),
    *_altered(
        "enlarged",
        ("x1.25 bicubic", lambda p: scaled(p, 1.25, R.BICUBIC)),
        ("x1.5 bilinear", lambda p: scaled(p, 1.5, R.BILINEAR)),
        ("x1.5 lanczos", lambda p: scaled(p, 1.5, R.LANCZOS)),
        ("x2 bicubic", lambda p: scaled(p, 2, R.BICUBIC)),
        ("x2 nearest", lambda p: scaled(p, 2, R.NEAREST)),
        ("x3 lanczos", lambda p: scaled(p, 3, R.LANCZOS)),
        ("x1.25 lanczos", lambda p: scaled(p, 1.25, R.LANCZOS), HELD),
        ("x1.5 bicubic", lambda p: scaled(p, 1.5, R.BICUBIC), HELD),
        ("x1.4 bicubic", lambda p: scaled(p, 1.4, R.BICUBIC), HELD),
        ("x2 lanczos", lambda p: scaled(p, 2, R.LANCZOS), HELD),
        ("x1.5 nearest", lambda p: scaled(p, 1.5, R.NEAREST), HELD),
        ("x3 bicubic", lambda p: scaled(p, 3, R.BICUBIC), HELD),
    ),
    *_altered(
        "over-sharpened",
        ("2 150", sharper(2, 150)),
        ("3 250", sharper(3, 250)),
        ("1 300", sharper(1, 300)),
        ("5 200", sharper(5, 200)),
        ("2 200", sharper(2, 200), HELD),
        ("sharpen 3 times", lambda p: p.filter(SHARPEN).filter(SHARPEN).filter(SHARPEN), HELD),
        ("1.5 150 twice", sharper(1.5, 150, 2), HELD),
    ),
    *(_file("recompressed", f"JPEG {q}", "JPEG", quality=q) for q in (20, 40, 60)),
    *(_file("recompressed", f"JPEG {q}", "JPEG", HELD, quality=q) for q in (30, 50, 70)),
    *_altered(
        "recompressed, saved again",
        ("JPEG 20", coded("JPEG", quality=20)),
        ("JPEG 50", coded("JPEG", quality=50)),
        ("JPEG 30 and 60", lambda p: coded("JPEG", quality=60)(coded("JPEG", quality=30)(p))),
        ("JPEG 35", coded("JPEG", quality=35), HELD),
        ("JPEG 60", coded("JPEG", quality=60), HELD),
    ),
    _file("WebP or AVIF", "WebP 20", "WEBP", method=1, quality=20),
    _file("WebP or AVIF", "AVIF 30", "AVIF", quality=30, speed=10),
    _file("WebP or AVIF", "WebP 40", "WEBP", HELD, method=1, quality=40),
    _file("WebP or AVIF", "AVIF 45", "AVIF", HELD, quality=45, speed=10),
    *_altered(
        "WebP or AVIF, saved again",
        ("WebP 10", coded("WEBP", method=1, quality=10)),
        ("AVIF 20", coded("AVIF", quality=20, speed=10)),
        ("WebP 30", coded("WEBP", method=1, quality=30), HELD),
        ("AVIF 30", coded("AVIF", quality=30, speed=10), HELD),
    ),
    *_altered(
        "blurred",
        ("1", blurred(1)),
        ("2", blurred(2)),
        ("box 1", lambda p: p.filter(ImageFilter.BoxBlur(1))),
        ("1.5", blurred(1.5), HELD),
        ("3", blurred(3), HELD),
        ("median 5", lambda p: p.filter(ImageFilter.MedianFilter(5)), HELD),
    ),
    *_altered(
        "noisy",
        ("5", noisy(5, True)),
        ("10 colour", noisy(10, False)),
        ("20", noisy(20, True)),
        ("8", noisy(8, True), HELD),
        ("15 colour", noisy(15, False), HELD),
        ("salt", salted(0.02), HELD),
    ),
    Variant("few colours", "GIF 64", lambda p, n: saved(p.quantize(64), "GIF")),
    Variant(
        "few colours", "PNG 32", lambda p, n: saved(p.quantize(32, dither=Image.Dither.NONE), "PNG")
    ),
    Variant("few colours", "GIF 16", lambda p, n: saved(p.quantize(16), "GIF"), HELD),
    Variant("few colours", "GIF 256", lambda p, n: saved(p.quantize(256), "GIF"), HELD),
    *_altered(
        "few colours, saved again",
        ("64 dithered", palette(64, True)),
        ("32 flat", palette(32, False)),
        ("web palette", web_safe),
        ("48 dithered", palette(48, True), HELD),
        ("16 flat", palette(16, False), HELD),
    ),
    *_altered(
        "posterised",
        ("3 bits", lambda p: ImageOps.posterize(p, 3)),
        ("2 bits", lambda p: ImageOps.posterize(p, 2), HELD),
        ("4 bits", lambda p: ImageOps.posterize(p, 4), HELD),
    ),
    *_altered(
        "words over it",
        ("all over 0.3", stamped(0.3)),
        ("one line", text(0.08, 1)),
        ("all over 0.5", stamped(0.5), HELD),
        ("two lines", text(0.1, 2), HELD),
    ),
    *_altered(
        "framed",
        ("white 2 %", framed(0.02, "white")),
        ("black 5 %", framed(0.05, "black")),
        ("white 4 %", framed(0.04, "white"), HELD),
        ("blue 3 %", framed(0.03, "#203060"), HELD),
    ),
    *_altered(
        "cropped and scaled",
        ("1 % x0.8", screenshot(0.01, 0.8)),
        ("1 % x1.3", screenshot(0.01, 1.3)),
        ("1 % to the same size", screenshot(0.01, 1 / 0.98)),
        ("2 % x1.2", screenshot(0.02, 1.2), HELD),
        ("1.5 % x0.9", screenshot(0.015, 0.9), HELD),
    ),
    *_altered(
        "clipped",
        ("contrast 1.6", contrast(1.6)),
        ("brighter", contrast(1.3, 50)),
        ("darker", contrast(1.3, -50)),
        ("contrast 2", contrast(2), HELD),
        ("gain 1.5", cast(1.5, 1.5, 1.5), HELD),
    ),
    *_altered(
        "faded",
        ("contrast 0.5", contrast(0.5)),
        ("dim", cast(0.5, 0.5, 0.5)),
        ("gamma 0.45", gamma(0.45)),
        ("contrast 0.6", contrast(0.6), HELD),
        ("gamma 2.2", gamma(2.2), HELD),
    ),
    *_altered(
        "cast",
        ("warm", cast(1.2, 1, 0.6)),
        ("blue", cast(0.65, 0.85, 1.25)),
        ("green", cast(0.8, 1.15, 0.75), HELD),
        ("yellow", cast(1.1, 1.05, 0.5), HELD),
    ),
    *_altered(
        "thumbnail enlarged",
        ("1/2", thumbnail(0.5, R.BICUBIC)),
        ("1/4", thumbnail(0.25, R.LANCZOS)),
        ("2/3", thumbnail(2 / 3, R.BICUBIC)),
        ("1/3", thumbnail(1 / 3, R.BICUBIC), HELD),
        ("1/2 bilinear", thumbnail(0.5, R.BILINEAR), HELD),
        ("1/2 nearest", thumbnail(0.5, R.NEAREST), HELD),
    ),
    _file("colour at half the scale", "JPEG 75", "JPEG", quality=75, subsampling=2),
    _file("colour at half the scale", "JPEG 70", "JPEG", HELD, quality=70, subsampling=2),
    *_altered(
        "dithered",
        ("black and white", lambda p: p.convert("1").convert("RGB")),
        ("8 colours", lambda p: p.quantize(8).convert("RGB"), HELD),
    ),
    *_altered(
        "stretched",
        ("1.02", lambda p: scaled(p, 1, x=1.02)),
        ("0.98", lambda p: scaled(p, 1, x=0.98)),
        ("1.01", lambda p: scaled(p, 1, x=1.01)),
        ("0.99", lambda p: scaled(p, 1, x=0.99), HELD),
        ("1.025", lambda p: scaled(p, 1, x=1.025), HELD),
    ),
    _smaller("0.9", 0.9, R.LANCZOS, False),
    _smaller("0.75", 0.75, R.BICUBIC, False),
    _smaller("0.5", 0.5, R.LANCZOS, False),
    _smaller("0.9 PNG", 0.9, R.BICUBIC, False, "PNG", {"compress_level": 1}),
    _smaller("0.9 JPEG 97", 0.9, R.LANCZOS, False, "JPEG", {"quality": 97}),
    _smaller("0.8 box JPEG 75", 0.8, R.BOX, False, "JPEG", {"quality": 75}),
    _smaller("0.95", 0.95, R.BICUBIC, True),
    _smaller("0.85", 0.85, R.LANCZOS, True),
    _smaller("0.9 JPEG 90", 0.9, R.BICUBIC, True, "JPEG", {"quality": 90}),
    _smaller("0.6 JPEG 95", 0.6, R.LANCZOS, True, "JPEG", {"quality": 95}),
    _smaller("0.35", 0.35, R.BICUBIC, True),
)

"""A folder of pictures with planted faults, and the truth about each of them.

Four of five files are clean scenes, most with a caption beside them; the rest are what a crawl
brings home. `truth.csv` names the fault of every file (`none` for a clean one) and, for a copy, the
file that it was made from.
"""

import csv
import io
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from nucleus_data.world.painting import render
from nucleus_data.world.alt_texts import _terse
from nucleus_data.world.scenes import Scene, scene
from nucleus_data.world.words import captions

FOLDERS = ("", "park", "studio", "studio/late")
FAULT_SHARE = 0.2
DRIFT = 0.09
HTML = b"<!DOCTYPE html>\n<html><head><title>404</title></head><body>Not Found</body></html>\n"


@dataclass(frozen=True)
class Planted:
    """The truth about one file.

    Attributes:
        file: Path relative to the folder, with forward slashes.
        fault: A key of `FAULTS` or `COPIES`, or `none`.
        original: The file that this one was made from; empty when it is nobody's copy.
    """

    file: str
    fault: str
    original: str


def write_demo(folder: Path | str, images: int = 300, seed: int = 0) -> list[Planted]:
    """Writes the folder.

    Args:
        folder: Made if absent; files of the same names are overwritten.
        images: Picture files in all, 40 or more (each fault at least once).
        seed: World; the same seed gives the same bytes.

    Returns:
        What `truth.csv` says, in the order of the files' numbers.

    Raises:
        ValueError: `images` is too small.
    """
    if images < 40:
        raise ValueError(f"images must be 40 or more (each fault once), got {images}")
    root = Path(folder)
    kinds = [*FAULTS, *COPIES, "exact_copy", "reencoded", "resized"]
    faulty = max(len(kinds), round(images * FAULT_SHARE))
    plan = ["none"] * (images - faulty) + [kinds[i % len(kinds)] for i in range(faulty)]
    truth: list[Planted] = []
    clean: list[tuple[str, Scene, Image.Image]] = []
    # The last chain's first copy; always set before it is used.
    link = ("", scene(seed, 0), Image.new("RGB", (1, 1)))
    for index, fault in enumerate(plan):
        rng = np.random.default_rng([seed, index, 2])
        facts = scene(seed, index)
        original, caption = "", _caption(facts, rng)
        if fault == "none":
            picture = render(facts, *_size(rng))
            suffix, data = _clean(picture, rng)
        elif fault in FAULTS:
            suffix, data = FAULTS[fault](render(facts, *_size(rng)), rng)
        else:
            links = fault == "chain"
            original, facts, picture = link if links else clean[int(rng.integers(len(clean)))]
            caption = _terse(facts, None)
            suffix, data = COPIES[fault](picture, rng, (root / original).read_bytes())
            suffix = suffix or Path(original).suffix
        name = f"{index:06d}{suffix}"
        place = FOLDERS[int(rng.integers(len(FOLDERS)))]
        file = f"{place}/{name}" if place else name
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(data)
        if caption:
            (root / file).with_suffix(".txt").write_text(f"{caption}\n")
        if fault == "none":
            clean.append((file, facts, picture))
        elif fault == "chain_start":
            link = (file, facts, _drifted(picture))
        truth.append(Planted(file, fault, original))
    with (root / "truth.csv").open("w", newline="") as handle:
        rows = csv.writer(handle, lineterminator="\n")
        rows.writerow(f.name for f in fields(Planted))
        rows.writerows(astuple(entry) for entry in truth)
    return truth


def _size(rng: np.random.Generator) -> tuple[int, int]:
    """Width and height: the long side 128 to 320, the short one 96 or more, either way up."""
    long = int(rng.integers(128, 321))
    short = max(96, round(long / float(rng.uniform(1, 2))))
    return (long, short) if rng.random() < 0.6 else (short, long)


def _caption(facts: Scene, rng: np.random.Generator) -> str:
    """What a person would have filed beside it: terse, a sentence, or (one in eight) nothing."""
    draw = rng.random()
    if draw < 0.125:
        return ""
    return _terse(facts, None) if draw < 0.7 else captions(facts)["short"]


def _encode(picture: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def _jpeg(picture: Image.Image, quality: int = 88, **options: object) -> tuple[str, bytes]:
    return ".jpg", _encode(picture, "JPEG", quality=quality, **options)


def _png(picture: Image.Image) -> tuple[str, bytes]:
    return ".png", _encode(picture, "PNG")


def _clean(picture: Image.Image, rng: np.random.Generator) -> tuple[str, bytes]:
    draw = rng.random()
    if draw < 0.6:
        return _jpeg(picture, int(rng.integers(80, 96)))
    if draw < 0.8:
        return _png(picture)
    return ".webp", _encode(picture, "WEBP", quality=int(rng.integers(80, 96)))


def _exposed(picture: Image.Image) -> Image.Image:
    levels = np.asarray(picture, dtype=np.float32)
    return Image.fromarray(np.clip(levels * 1.1 + 130, 0, 255).astype(np.uint8))


def _transparent(picture: Image.Image) -> Image.Image:
    alpha = (
        np.linspace(0, 255, picture.width).astype(np.uint8)[None, :].repeat(picture.height, axis=0)
    )
    picture = picture.copy()
    picture.putalpha(Image.fromarray(alpha))
    return picture


def _gif(picture: Image.Image) -> bytes:
    frames = [picture.rotate(90 * turn) for turn in range(1, 3)]
    return _encode(picture, "GIF", save_all=True, append_images=frames, duration=200, loop=0)


def _deep(picture: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(picture.convert("L"), dtype=np.uint16) * 257)


def _resized(picture: Image.Image, factor: float) -> Image.Image:
    size = (round(picture.width * factor), round(picture.height * factor))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _drifted(picture: Image.Image) -> Image.Image:
    """The picture with a little unrelated texture over it: one link of a chain."""
    return Image.blend(picture, render(scene(2**31, 0), *picture.size), DRIFT)


# A fault of its own scene: (picture, random numbers) -> (suffix, bytes).
Fault = Callable[[Image.Image, np.random.Generator], tuple[str, bytes]]
FAULTS: dict[str, Fault] = {
    "truncated": lambda p, r: (".jpg", (data := _jpeg(p)[1])[: len(data) // 2]),
    "html": lambda p, r: (".jpg", HTML),
    "mislabelled": lambda p, r: (".jpg", _png(p)[1]),
    "black": lambda p, r: _png(Image.new("RGB", p.size)),
    "white": lambda p, r: _jpeg(Image.new("RGB", p.size, "white")),
    "over_exposed": lambda p, r: _jpeg(_exposed(p)),
    "blurred": lambda p, r: _jpeg(p.filter(ImageFilter.GaussianBlur(max(p.size) / 30))),
    "tiny": lambda p, r: _png(p.resize((16, 16), Image.Resampling.BOX)),
    "extreme_aspect": lambda p, r: _jpeg(p.resize((600, 60), Image.Resampling.BICUBIC)),
    "over_compressed": lambda p, r: _jpeg(p, quality=2),
    "alpha": lambda p, r: _png(_transparent(p)),
    "cmyk": lambda p, r: _jpeg(p.convert("CMYK")),
    "animated": lambda p, r: (".gif", _gif(p)),
    "sixteen_bit": lambda p, r: _png(_deep(p)),
}
# A copy of a clean picture: (its pixels, random numbers, its bytes) -> (suffix, "" for the same,
# bytes). A chain's first copy is close to its original, and the second to the first.
Copy = Callable[[Image.Image, np.random.Generator, bytes], tuple[str, bytes]]
COPIES: dict[str, Copy] = {
    "exact_copy": lambda p, r, data: ("", data),
    "reencoded": lambda p, r, data: _jpeg(p, int(r.integers(40, 75))),
    "resized": lambda p, r, data: _jpeg(_resized(p, float(r.uniform(0.6, 0.9)))),
    "turned": lambda p, r, data: _turned(p),
    "chain_start": lambda p, r, data: _jpeg(_drifted(p)),
    "chain": lambda p, r, data: _jpeg(_drifted(p)),
}


def _turned(picture: Image.Image) -> tuple[str, bytes]:
    """Stored on its side, with the EXIF orientation that puts it upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return _jpeg(picture.transpose(Image.Transpose.ROTATE_90), exif=exif.tobytes())

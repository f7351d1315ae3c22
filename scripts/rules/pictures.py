"""The same faults and copies as in a world, planted into real pictures of a folder.

A white frame around a drawing on white is none, for whoever looks at it: where a frame or a caption
strip would be of the picture's own ground, it is planted in the opposite colour.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from nucleus_data.pixels import open_picture
from nucleus_data.world import alterations, files
from nucleus_data.world.plan import COPY_QUALITY, EXACT, NONE, STRENGTHS
from scripts.rules.faults import CHAINS, FRAMED, PLANTED, TWIN
from scripts.rules.measuring import Row, file_row, spread

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".avif")
ORIGINAL = "original"
_SIDE = 1024
_QUALITY = 90
_SEEN = 40  # levels of luma between a frame and what it is around ...
_ALONG = 0.5  # ... along so much of the frame
_PER_PICTURE = 1000  # indices: more than there are faults times strengths


@dataclass(frozen=True)
class _Work:
    """A picture to measure, or to plant into.

    Attributes:
        signals: Groups, by their paths.
        number: Of the picture.
        path: Its file.
        turns: In how many strengths each fault is planted; 0 measures only what is there.
    """

    signals: tuple[str, ...]
    number: int
    path: Path
    turns: int


def pictures_of(folder: Path) -> list[Path]:
    """All pictures below a folder, by name.

    Raises:
        SystemExit: There are none.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise SystemExit(f"--pictures {folder}: no {', '.join(SUFFIXES)} below it")
    return found


def clean_rows(paths: Sequence[Path], signals: tuple[str, ...], workers: int) -> list[Row]:
    """Each file as it is (`original`) and as what faults are planted into (`none`).

    The latter is a JPEG of quality 90, of 1024 pixels at most, on white. Files that the reader
    refuses have the first row only.
    """
    work = [_Work(signals, number, path, 0) for number, path in enumerate(paths)]
    return list(spread(_clean, work, workers))


def planted_rows(
    paths: Sequence[Path], chosen: Sequence[int], signals: tuple[str, ...], turns: int, workers: int
) -> list[Row]:
    """Rows of all faults and copies, planted into chosen pictures.

    Args:
        paths: All pictures.
        chosen: Numbers of those that are planted into.
        signals: Groups, by their paths.
        turns: In how many of the three strengths each; they take turns.
        workers: Processes.
    """
    work = [_Work(signals, number, paths[number], turns) for number in chosen]
    return list(spread(_planted, work, workers))


def _clean(work: _Work) -> list[Row]:
    data = work.path.read_bytes()
    row = file_row(work.signals, ORIGINAL, "", data, work.path.name)
    rows = [row | {"index": -1 - work.number, "original": -1, "scene": work.number}]
    if not row["error"]:
        base = files.encoded(_base(data), "JPEG", _QUALITY)
        place = {"index": work.number * _PER_PICTURE, "original": -1, "scene": work.number}
        rows.append(file_row(work.signals, NONE, "", base, "picture.jpg") | place)
    return [row | {"name": work.path.name} for row in rows]


def _base(data: bytes) -> Image.Image:
    return Image.fromarray(open_picture(data).rgb(max_side=_SIDE))


def _planted(work: _Work) -> list[Row]:
    picture = _base(work.path.read_bytes())
    base = work.number * _PER_PICTURE
    rows: list[Row] = []
    for turn in range(work.turns):
        start = -1
        for place, fault in enumerate(PLANTED):
            # Both links of a chain have one strength.
            strength = (work.number + turn + (0 if fault in CHAINS else place)) % len(STRENGTHS)
            for name, data in _files(picture, fault, strength, [work.number, place]):
                row = file_row(
                    work.signals,
                    name,
                    "" if fault == EXACT else STRENGTHS[strength],
                    data,
                    f"picture{files.SUFFIXES.get(fault, '.jpg')}",
                )
                index, original = base + len(rows) + 1, base
                if name == "chain":
                    original = start
                elif name == TWIN:
                    original = index - 1
                start = index if name == "chain_start" else start
                place_of = {"index": index, "original": original, "scene": work.number}
                rows.append(row | place_of | {"name": work.path.name})
    return rows


def _files(
    picture: Image.Image, fault: str, strength: int, seed: list[int]
) -> Iterator[tuple[str, bytes]]:
    rng = np.random.default_rng([*seed, 9])
    if fault == EXACT:
        yield fault, files.encoded(picture, "JPEG", _QUALITY)
    elif fault in files.FILES:
        yield fault, files.FILES[fault](picture, strength, rng)
        if fault == "oriented":
            yield TWIN, files.encoded(picture, "JPEG", 88)
    else:
        alter = alterations.FAULTS.get(fault) or alterations.COPIES[fault]
        altered = alter(picture, strength, rng)
        if fault in FRAMED and _seen(picture, altered) < _ALONG:
            rng = np.random.default_rng([*seed, 9])
            opposite = ImageOps.invert(alter(ImageOps.invert(picture), strength, rng))
            altered = max(altered, opposite, key=lambda framed: _seen(picture, framed))
        quality = COPY_QUALITY.get(fault, (90, 88, 85))[strength]
        yield fault, files.encoded(altered, "JPEG", quality)


def _seen(picture: Image.Image, framed: Image.Image) -> float:
    """Along how much of a frame, or of a strip below, the picture differs from it."""
    luma_HW = np.asarray(picture.convert("L"), dtype=np.int16)
    sides = [luma_HW[-1]]
    if framed.width > picture.width:
        sides += [luma_HW[0], luma_HW[:, 0], luma_HW[:, -1]]
    level = framed.convert("L").getpixel((0, framed.height - 1))
    return float((np.abs(np.concatenate(sides) - level) >= _SEEN).mean())

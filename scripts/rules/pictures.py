"""Measured rows of real pictures: as they are, and with the world's faults planted into them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nucleus_data.world import files
from nucleus_data.world.plan import NONE
from nucleus_data.world.planting import QUALITY, base_index, base_picture, plant
from scripts.rules.measuring import Row, file_row, spread

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".avif")
ORIGINAL = "original"


@dataclass(frozen=True)
class _Work:
    """A picture to measure, or to plant into.

    Attributes:
        signals: Groups, by their paths.
        number: Place of the picture among all.
        path: The picture's file.
        turns: In how many strengths each fault is planted; 0 measures only what is there.
    """

    signals: tuple[str, ...]
    number: int
    path: Path
    turns: int


def pictures_of(folder: Path) -> list[Path]:
    """Lists all pictures below a folder, by name.

    Raises:
        SystemExit: There are none.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise SystemExit(f"--pictures {folder}: no {', '.join(SUFFIXES)} below it")
    return found


def clean_rows(paths: Sequence[Path], signals: tuple[str, ...], workers: int) -> list[Row]:
    """Measures each file as it is (`original`) and as what faults are planted into (`none`).

    The latter is a JPEG of quality 90, of 1024 pixels at most, on white. Files that the reader
    refuses have the first row only.
    """
    work = [_Work(signals, number, path, 0) for number, path in enumerate(paths)]
    return list(spread(_clean, work, workers))


def planted_rows(
    paths: Sequence[Path], chosen: Sequence[int], signals: tuple[str, ...], turns: int, workers: int
) -> list[Row]:
    """Measures all faults and copies, planted into chosen pictures.

    Args:
        paths: All pictures.
        chosen: Numbers of those that are planted into.
        signals: Groups, by their paths.
        turns: In how many of the three strengths each; they take turns.
        workers: How many processes.
    """
    work = [_Work(signals, number, paths[number], turns) for number in chosen]
    return list(spread(_planted, work, workers))


def _clean(work: _Work) -> list[Row]:
    data = work.path.read_bytes()
    row = file_row(work.signals, ORIGINAL, "", data, work.path.name)
    rows = [row | {"index": -1 - work.number, "original": -1, "scene": work.number}]
    if not row["error"]:
        base = files.encoded(base_picture(data), "JPEG", QUALITY)
        place = {"index": base_index(work.number), "original": -1, "scene": work.number}
        rows.append(file_row(work.signals, NONE, "", base, "picture.jpg") | place)
    return [row | {"name": work.path.name} for row in rows]


def _planted(work: _Work) -> list[Row]:
    picture = base_picture(work.path.read_bytes())
    rows: list[Row] = []
    for made in plant(picture, work.number, work.turns):
        row = file_row(work.signals, made.fault, made.strength, made.data, made.filename)
        place = {"index": made.index, "original": made.original, "scene": work.number}
        rows.append(row | place | {"name": work.path.name})
    return rows

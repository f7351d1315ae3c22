"""Checks whether samples show the objects that their prompts name.

The checker is that of the synthetic world (`nucleus_data.world.object_detection`). It is only used
if it applies to such pictures: it must find what captions name in the reference's own pictures.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nucleus_data.pixels import PixelError
from nucleus_data.world.object_detection import find_objects
from nucleus_data.world.reading import read_caption
from nucleus_data.world.scenes import COLORS, KINDS
from nucleus_model.training.verdict.descriptive import LEAST, Row, row
from nucleus_model.training.verdict.known import Measured

ASKED = LEAST  # number of reference pictures on which the checker is tried
RIGHT = 0.9  # minimum share of their objects that it must find
FACTS = "samples.json"  # description of a run's grid of samples
SMALLEST = 16  # minimum side in pixels for the checker
Objects = Counter[tuple[str | None, str | None]]


def told(text: str) -> Objects:
    """Returns the objects that a caption names with a kind and a colour of the world."""
    objects = read_caption(text).objects
    return Counter((o.kind, o.color) for o in objects if o.kind in KINDS and o.color in COLORS)


def right(picture: NDArray[np.uint8], wanted: Objects) -> int:
    """Counts the wanted objects that a picture shows."""
    shown: Objects = Counter((o.kind, o.color) for o in find_objects(picture))
    return (wanted & shown).total()


def is_checked(parts: Sequence[Measured]) -> bool:
    """Whether the checker applies to pictures such as the reference's.

    Args:
        parts: The reference pictures.
    """
    shown = wanted = pictures = 0
    for picture, text in _pictures(parts):
        objects = told(text)
        shown += right(picture, objects)
        wanted += objects.total()
        pictures += 1
        if pictures == ASKED:
            break
    return pictures >= LEAST and shown >= RIGHT * wanted


def _pictures(parts: Sequence[Measured]) -> Iterator[tuple[NDArray[np.uint8], str]]:
    """Yields reference pictures whose captions name objects, cropped and scaled, with captions."""
    for part in parts:
        captions = {row["id"]: row["caption"] for row in part.rows}
        for tar, members in part.places.items():
            for place, ident in members:
                sample = part.opened.sample_at(tar, place)
                if not told(captions[ident]) or min(sample.bucket) < SMALLEST:
                    continue
                try:
                    yield part.opened.image(sample), captions[ident]
                except (PixelError, ValueError):
                    continue


def objects_right(runs: Mapping[str, Sequence[Path]], *, pairs: bool) -> list[Row]:
    """Compares the share of the prompts' objects that samples show.

    Args:
        runs: Arm -> folders of its runs, by replicate.
        pairs: Whether replicates are paired.

    Returns:
        One row; empty if no prompt names an object, or fewer than two seeds have samples.
    """
    shares: dict[str, list[float]] = {arm: [] for arm in runs}
    count = 0
    for arm, folders in runs.items():
        # Only the first seeds draw samples.
        for folder in (path for path in folders if (path / FACTS).is_file()):
            cells = [(right(cell, objects), objects.total()) for cell, objects in _cells(folder)]
            if not cells:
                return []
            count += len(cells)
            shares[arm].append(sum(n for n, _ in cells) / sum(of for _, of in cells))
    if min(map(len, shares.values())) < 2:
        return []
    a, b = (np.array(shares[arm]) for arm in ("a", "b"))
    return [row("objects right in samples", count, a, b, pairs=pairs)]


def _cells(folder: Path) -> Iterator[tuple[NDArray[np.uint8], Objects]]:
    """Yields the cells of a run's grid whose prompts name objects, with these objects."""
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    with Image.open(folder / facts["file"]) as image:
        grid = np.asarray(image.convert("RGB"))
    height, width, padding = (facts[n] for n in ("cell_height", "cell_width", "padding"))
    for number, prompt in enumerate(facts["rows"]):
        top, objects = padding + number * (height + padding), told(prompt)
        for column in range(len(facts["columns"])):
            left = padding + column * (width + padding)
            if objects and min(height, width) >= SMALLEST:
                yield grid[top : top + height, left : left + width], objects

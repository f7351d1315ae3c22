"""Whether samples show the objects that their prompts name, where a checker of them exists.

The checker is the world's (`nucleus_data.world.object_detection`). Whether it knows these pictures
is asked of the reference: where it does not find what the captions name in the reference's own
pictures, it says nothing of samples.
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

ASKED = LEAST  # reference pictures that tell whether the checker knows them
RIGHT = 0.9  # of their objects
FACTS = "samples.json"  # of a run's grid
SMALLEST = 16  # pixels a side that the checker looks at
Objects = Counter[tuple[str | None, str | None]]


def told(text: str) -> Objects:
    """The objects that a caption names with a kind and a colour of the world."""
    found = read_caption(text).objects
    return Counter((o.kind, o.color) for o in found if o.kind in KINDS and o.color in COLORS)


def right(picture: NDArray[np.uint8], wanted: Objects) -> int:
    """How many of the wanted objects a picture shows."""
    found: Objects = Counter((o.kind, o.color) for o in find_objects(picture))
    return (wanted & found).total()


def is_checked(parts: Sequence[Measured]) -> bool:
    """Whether the checker knows pictures such as the reference's.

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
    """Reference pictures whose captions name objects, as the models met them."""
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
    """The share of the prompts' objects that samples show.

    Args:
        runs: Arm -> folders of its runs, by replicate.
        pairs: Whether replicates belong together.

    Returns:
        One row; nothing where no prompt names an object, or fewer than two seeds have drawn.
    """
    shares: dict[str, list[float]] = {arm: [] for arm in runs}
    count = 0
    for arm, folders in runs.items():
        # Not all seeds need have drawn.
        for folder in (one for one in folders if (one / FACTS).is_file()):
            found = [(right(cell, objects), objects.total()) for cell, objects in _cells(folder)]
            if not found:
                return []
            count += len(found)
            shares[arm].append(sum(n for n, _ in found) / sum(of for _, of in found))
    if min(map(len, shares.values())) < 2:
        return []
    a, b = (np.array(shares[arm]) for arm in ("a", "b"))
    return [row("objects right in samples", count, a, b, pairs=pairs)]


def _cells(folder: Path) -> Iterator[tuple[NDArray[np.uint8], Objects]]:
    """The cells of a run's grid whose prompts name objects."""
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

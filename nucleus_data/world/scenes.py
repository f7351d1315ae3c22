"""Scenes as facts: what is in a picture, where, and on what.

Two levels. `core` has one to three shapes of one texture on plain or graded backgrounds, flat.
`full` adds a fourth shape, two more kinds, textured shapes, woven and cluttered backgrounds,
written words, and four styles. Every value comes from the closed lists below.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

Level = Literal["core", "full"]
LEVELS: tuple[Level, ...] = ("core", "full")

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 36),
    "orange": (245, 140, 20),
    "yellow": (246, 220, 40),
    "green": (40, 160, 60),
    "blue": (36, 72, 214),
    "purple": (130, 40, 160),
    "white": (248, 248, 248),
    "black": (14, 14, 14),
}
BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "gray": (128, 128, 128),
    "teal": (70, 150, 150),
    "brown": (130, 92, 60),
    "pink": (222, 150, 170),
    "beige": (206, 190, 150),
}
CORE_KINDS = ("circle", "square", "triangle", "diamond", "ring", "cross")
KINDS = (*CORE_KINDS, "star", "heart")
TEXTURES = ("plain", "striped", "dotted", "checked")
# Radius, as a share of the picture's shorter side.
SIZES: dict[str, tuple[float, float]] = {"small": (0.12, 0.135), "large": (0.19, 0.22)}
ROWS = ("top", "middle", "bottom")
COLUMNS = ("left", "center", "right")
LIGHTS = ("none", "left", "right", "top", "bottom")
CORE_GROUNDS = ("plain", "graded")
GROUNDS = (*CORE_GROUNDS, "woven", "cluttered")
STYLES = ("flat", "outlined", "pencil", "night")
WORDS = ("OPEN", "SALE", "CAFE", "HOTEL", "MUSIC", "EXIT", "NEWS", "PARK", "TAXI", "BOOKS")
WORD_PLACES = ("top", "bottom")

CENTERS = (0.25, 0.5, 0.75)
JITTER = 0.03
COUNT_SHARES: dict[Level, tuple[float, ...]] = {
    "core": (0.35, 0.4, 0.25),
    "full": (0.25, 0.3, 0.25, 0.2),
}


@dataclass(frozen=True)
class Shape:
    """One coloured shape.

    Attributes:
        kind: One of `KINDS`.
        color: A key of `COLORS`.
        size: A key of `SIZES`.
        texture: One of `TEXTURES`.
        row: 0 to 2, from the top.
        column: 0 to 2, from the left.
        x: Centre, a share of the width.
        y: Centre, a share of the height.
        radius: A share of the picture's shorter side.
    """

    kind: str
    color: str
    size: str
    texture: str
    row: int
    column: int
    x: float
    y: float
    radius: float

    @property
    def place(self) -> str:
        """Row and column in words: `top left`, `bottom center`, `center`."""
        at_center = (self.row, self.column) == (1, 1)
        return "center" if at_center else f"{ROWS[self.row]} {COLUMNS[self.column]}"


@dataclass(frozen=True)
class Scene:
    """The facts of one picture.

    Attributes:
        seed: Seed of the world.
        index: Number of the scene in that world.
        level: `core` or `full`.
        style: One of `STYLES`.
        background: A key of `BACKGROUNDS`.
        ground: One of `GROUNDS`.
        light: The side towards which the background gets lighter; `none` unless it is graded.
        word: One of `WORDS`, or empty.
        word_place: One of `WORD_PLACES`; where the word is, if there is one.
        shapes: One to four, no two of the same kind and colour, in reading order.
    """

    seed: int
    index: int
    level: Level
    style: str
    background: str
    ground: str
    light: str
    word: str
    word_place: str
    shapes: tuple[Shape, ...]


def _arrangements(count: int) -> list[tuple[tuple[int, int], ...]]:
    """All sets of cells of the 3 x 3 grid whose shapes cannot overlap, in reading order."""
    cells = [(row, column) for row in range(3) for column in range(3)]
    return [
        chosen
        for chosen in combinations(cells, count)
        if all(max(abs(a[0] - b[0]), abs(a[1] - b[1])) == 2 for a, b in combinations(chosen, 2))
    ]


ARRANGEMENTS = {count: _arrangements(count) for count in range(1, 5)}


def scene(seed: int, index: int, level: Level = "core") -> Scene:
    """Draws the facts of one scene; a function of its arguments alone.

    Args:
        seed: Seed of the world, 0 or more.
        index: Number of the scene in that world, 0 or more.
        level: How much there is in it.

    Returns:
        The scene. Two shapes are at least two cells of the 3 x 3 grid apart, so that they never
        overlap.

    Raises:
        ValueError: There is no such level.
    """
    if level not in LEVELS:
        raise ValueError(f"level must be one of {', '.join(LEVELS)}, got {level!r}")
    full = level == "full"
    rng = np.random.default_rng([seed, index, LEVELS.index(level)])

    def one_of(values: tuple[str, ...]) -> str:
        return values[int(rng.integers(len(values)))]

    shares = COUNT_SHARES[level]
    count = 1 + int(rng.choice(len(shares), p=shares))
    cells = ARRANGEMENTS[count][int(rng.integers(len(ARRANGEMENTS[count])))]
    shapes: list[Shape] = []
    for row, column in cells:
        kind, color = one_of(KINDS if full else CORE_KINDS), one_of(tuple(COLORS))
        # Two shapes of one kind and colour could not be told apart in words.
        while any((kind, color) == (s.kind, s.color) for s in shapes):
            kind, color = one_of(KINDS if full else CORE_KINDS), one_of(tuple(COLORS))
        size = one_of(tuple(SIZES))
        shapes.append(
            Shape(
                kind=kind,
                color=color,
                size=size,
                texture=one_of(TEXTURES) if full and rng.random() < 0.5 else "plain",
                row=row,
                column=column,
                x=CENTERS[column] + float(rng.uniform(-JITTER, JITTER)),
                y=CENTERS[row] + float(rng.uniform(-JITTER, JITTER)),
                radius=float(rng.uniform(*SIZES[size])),
            )
        )
    ground = one_of(GROUNDS if full else CORE_GROUNDS)
    return Scene(
        seed=seed,
        index=index,
        level=level,
        style=one_of(STYLES) if full else "flat",
        background=one_of(tuple(BACKGROUNDS)),
        ground=ground,
        light=one_of(LIGHTS[1:]) if ground == "graded" else "none",
        word=one_of(WORDS) if full and rng.random() < 0.3 else "",
        word_place=one_of(WORD_PLACES),
        shapes=tuple(shapes),
    )

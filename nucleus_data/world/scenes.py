"""Scenes as facts, and the facts in words.

The grammar is closed: every word that `captions` can say is reachable from the tables below, which
is what lets a captioner of a few MB learn all of it.
"""

from dataclasses import dataclass

import numpy as np

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
KINDS = ("circle", "square", "triangle", "diamond", "ring", "cross")
SIZES: dict[str, tuple[float, float]] = {"small": (0.10, 0.125), "large": (0.19, 0.225)}
ROWS = ("top", "middle", "bottom")
COLUMNS = ("left", "center", "right")
LIGHTS = ("none", "left", "right", "top", "bottom")
CENTERS = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Shape:
    """One coloured shape.

    Attributes:
        kind: One of `KINDS`.
        color: A key of `COLORS`.
        size: A key of `SIZES`.
        row: 0 to 2, from the top.
        column: 0 to 2, from the left.
        x: Centre, as a share of the width.
        y: Centre, as a share of the height.
        radius: As a share of the shorter side.
    """

    kind: str
    color: str
    size: str
    row: int
    column: int
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Scene:
    """The facts of one picture.

    Attributes:
        seed: World.
        index: Scene of that world.
        background: A key of `BACKGROUNDS`.
        light: The side towards which the background gets lighter, or `none`.
        shapes: One or two, in reading order (rows, then columns).
    """

    seed: int
    index: int
    background: str
    light: str
    shapes: tuple[Shape, ...]


def scene(seed: int, index: int) -> Scene:
    """Draws the facts of one scene; a function of `(seed, index)` alone.

    Args:
        seed: World, 0 or more.
        index: Scene of that world, 0 or more.

    Returns:
        The scene. Two shapes are at least two cells of the 3 x 3 grid apart, so that they never
        overlap.
    """
    rng = np.random.default_rng([seed, index])
    cells = [(int(rng.integers(3)), int(rng.integers(3)))]
    if rng.random() < 0.6:
        row, column = cells[0]
        far = [
            (r, c) for r in range(3) for c in range(3) if max(abs(r - row), abs(c - column)) == 2
        ]
        if far:
            cells.append(far[int(rng.integers(len(far)))])
    shapes = []
    for row, column in sorted(cells):
        size = str(rng.choice(list(SIZES)))
        shapes.append(
            Shape(
                kind=str(rng.choice(KINDS)),
                color=str(rng.choice(list(COLORS))),
                size=size,
                row=row,
                column=column,
                x=CENTERS[column] + float(rng.uniform(-0.02, 0.02)),
                y=CENTERS[row] + float(rng.uniform(-0.02, 0.02)),
                radius=float(rng.uniform(*SIZES[size])),
            )
        )
    return Scene(
        seed=seed,
        index=index,
        background=str(rng.choice(list(BACKGROUNDS))),
        light=str(rng.choice(LIGHTS)),
        shapes=tuple(shapes),
    )


def captions(scene: Scene) -> dict[str, str]:
    """Says a scene in words.

    Args:
        scene: The facts.

    Returns:
        `short` (one sentence: shapes and background) and `long` (two sentences: positions and light
        too).
    """
    things = [f"a {s.size} {s.color} {s.kind}" for s in scene.shapes]
    places = [
        f"{thing} is in the {_place(s)}" for thing, s in zip(things, scene.shapes, strict=True)
    ]
    ground = f"The background is {scene.background}"
    ground += (
        " and evenly lit."
        if scene.light == "none"
        else f" and gets lighter towards the {scene.light}."
    )
    return {
        "short": _sentence(f"{' and '.join(things)} on a {scene.background} background"),
        "long": f"{_sentence(', and '.join(places) + ' of the picture')} {ground}",
    }


def alt_text(scene: Scene) -> str:
    """A caption as a person would file it under: terse, lower case, no sizes or places."""
    return " and ".join(f"{s.color} {s.kind}" for s in scene.shapes)


def _place(shape: Shape) -> str:
    at_center = (shape.row, shape.column) == (1, 1)
    return "center" if at_center else f"{ROWS[shape.row]} {COLUMNS[shape.column]}"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."

"""Poor captions, as the web has them: what stands in `alt` attributes and file names.

Each kind is a name that the truth table keeps, so that a router or a refiner can be measured.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from nucleus_data.world.scenes import BACKGROUNDS, COLORS, CORE_KINDS, KINDS, SIZES, Scene, scene
from nucleus_data.world.words import captions, colored, listed

GENERIC = (
    "image",
    "photo",
    "Untitled",
    "click to enlarge",
    "stock picture, free download",
    "Image of the day",
    "product photo",
    "thumbnail",
)
LANGUAGES: dict[str, dict[str, str]] = {
    "de": {
        "red": "rot",
        "orange": "orange",
        "yellow": "gelb",
        "green": "grün",
        "blue": "blau",
        "purple": "lila",
        "white": "weiß",
        "black": "schwarz",
        "and": "und",
        "circle": "Kreis",
        "square": "Quadrat",
        "triangle": "Dreieck",
        "diamond": "Raute",
        "ring": "Ring",
        "cross": "Kreuz",
        "star": "Stern",
        "heart": "Herz",
    },
    "es": {
        "red": "rojo",
        "orange": "naranja",
        "yellow": "amarillo",
        "green": "verde",
        "blue": "azul",
        "purple": "morado",
        "white": "blanco",
        "black": "negro",
        "and": "y",
        "circle": "círculo",
        "square": "cuadrado",
        "triangle": "triángulo",
        "diamond": "rombo",
        "ring": "anillo",
        "cross": "cruz",
        "star": "estrella",
        "heart": "corazón",
    },
}


@dataclass(frozen=True)
class AltText:
    """A caption that came with a picture.

    Attributes:
        kind: A key of `ALT_KINDS`.
        text: Empty for `missing`.
    """

    kind: str
    text: str


def alt_text(scene: Scene, kind: str | None = None) -> AltText:
    """What the web says of a scene; a function of its arguments alone.

    Args:
        scene: The facts.
        kind: A key of `ALT_KINDS`; drawn by `SHARES` if left out.

    Returns:
        Kind and text.
    """
    rng = np.random.default_rng([scene.seed, scene.index, 4])
    drawn = str(rng.choice(list(SHARES), p=list(SHARES.values())))
    kind = kind or drawn
    return AltText(kind, ALT_KINDS[kind](scene, rng))


def with_a_mistake(facts: Scene, rng: np.random.Generator) -> Scene:
    """The same scene with one fact changed that a `short` caption tells.

    Args:
        facts: The truth.
        rng: Draws the shape, the fact and its new value.

    Returns:
        The scene, no longer true.
    """
    if rng.random() < 0.15:
        return replace(facts, background=_other(tuple(BACKGROUNDS), facts.background, rng))
    number = int(rng.integers(len(facts.shapes)))
    shape = facts.shapes[number]
    kinds = KINDS if facts.level == "full" else CORE_KINDS
    others = [colored(s) for i, s in enumerate(facts.shapes) if i != number]
    # Drawn until no other shape has the new name, or a reader would take it for that one.
    while True:
        fact = int(rng.integers(3))
        if fact == 0:
            changed = replace(shape, color=_other(tuple(COLORS), shape.color, rng))
        elif fact == 1:
            changed = replace(shape, kind=_other(kinds, shape.kind, rng))
        else:
            changed = replace(shape, size=_other(tuple(SIZES), shape.size, rng))
        if colored(changed) not in others:
            break
    shapes = (*facts.shapes[:number], changed, *facts.shapes[number + 1 :])
    return replace(facts, shapes=shapes)


def _other(values: tuple[str, ...], but: str, rng: np.random.Generator) -> str:
    left = [value for value in values if value != but]
    return left[int(rng.integers(len(left)))]


def _terse(facts: Scene, rng: np.random.Generator) -> str:
    return listed([colored(s) for s in facts.shapes])


def _file_name(facts: Scene, rng: np.random.Generator) -> str:
    number = int(rng.integers(10_000))
    first = facts.shapes[0]
    stems = (f"IMG_{number:04d}", f"DSC{number:05d}", f"{first.kind}_{first.color}_{number % 100}")
    stem = stems[int(rng.integers(len(stems)))]
    return stem + (".jpg", ".JPG", "-1024x768.jpg", "_final.png")[int(rng.integers(4))]


def _other_language(facts: Scene, rng: np.random.Generator) -> str:
    words = LANGUAGES[str(rng.choice(list(LANGUAGES)))]
    told = [f"{words[s.kind]} {words[s.color]}" for s in facts.shapes]
    return f" {words['and']} ".join(told)


def _other_image(facts: Scene, rng: np.random.Generator) -> str:
    # Of another world, so that no picture of this one is what the caption tells.
    stranger = scene(facts.seed + 1_000_003, int(rng.integers(1 << 30)), facts.level)
    return captions(stranger)["short"]


ALT_KINDS: dict[str, Callable[[Scene, np.random.Generator], str]] = {
    "missing": lambda facts, rng: "",
    "generic": lambda facts, rng: GENERIC[int(rng.integers(len(GENERIC)))],
    "file_name": _file_name,
    "terse": _terse,
    "good": lambda facts, rng: captions(facts)["short"],
    "partly_wrong": lambda facts, rng: captions(with_a_mistake(facts, rng))["short"],
    "other_image": _other_image,
    "other_language": _other_language,
}
SHARES = {
    "missing": 0.12,
    "generic": 0.10,
    "file_name": 0.10,
    "terse": 0.25,
    "good": 0.18,
    "partly_wrong": 0.12,
    "other_image": 0.06,
    "other_language": 0.07,
}

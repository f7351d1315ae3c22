"""Engines that pretend: benign ones, with the noise that batching has, and ones with a fault.

A model is a function from a scene (None for a grey picture) and a question to a text; noise changes
what it says among others, never what it says alone. A fault does what engines did: another
request's picture, pictures off by one, an old picture out of a cache, no picture at all.
"""

import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nucleus_data.engines.captioner import Ask, Engine, Generated, Pixels, Prepared, Sampling
from nucleus_data.stages.caption.prompts import PROMPTS
from nucleus_data.world import render, scene
from nucleus_data.world.words import captions

SIZES = ((96, 64), (64, 96), (80, 80), (112, 64))
LABELS = ("cat", "dog", "bird", "fish", "tree")
REFUSAL = "I'm sorry, but I can't help with describing this image."
MARK = "There is a watermark at the bottom of this image."
NO_MARK = "No watermark is visible in this image."
Model = Callable[[int, int | None, str], str]
FaultName = Literal["swap", "off_by_one", "stale", "same_size", "blind", "blind_in_crowd"]
IN_FLIGHT = 24


@dataclass(frozen=True)
class Pictures:
    """Pictures of scenes, found again by their pixels.

    Attributes:
        seed: Of the world.
        pixels: Each picture.
        scenes: The scene of each one; near-equal pictures share one.
        known: From pixels to the scene.
    """

    seed: int
    pixels: Sequence[Pixels]
    scenes: Sequence[int]
    known: Mapping[bytes, int]


def draw_pictures(seed: int, count: int, *, copies: int = 1) -> Pictures:
    """Pictures of a world; of each scene so many that differ by no more than one level a pixel."""
    random_levels = np.random.default_rng(seed)
    pixels, scenes, known = [], [], {}
    for number in range(count):
        index = number // copies
        width, height = SIZES[index % len(SIZES)]
        drawn = np.asarray(render(scene(seed, index), width, height)).astype(np.int16)
        if number % copies:
            drawn += random_levels.integers(-1, 2, drawn.shape, dtype=np.int16)
        picture = drawn.clip(0, 255).astype(np.uint8)
        pixels.append(picture)
        scenes.append(index)
        known[picture.tobytes()] = index
    return Pictures(seed, pixels, scenes, known)


def world_model(seed: int, index: int | None, question: str) -> str:
    """What a good captioner says, in the world's words."""
    if index is None:
        return "This picture shows nothing. The background is gray."
    name = next((name for name, text in PROMPTS.items() if text == question), "short")
    told = captions(scene(seed, index))
    return told.get(name, told["short"])


def labels_model(seed: int, index: int | None, question: str) -> str:
    """One of five words; the same of many pictures, and perhaps of a grey one."""
    if question == PROMPTS["medium"]:
        return world_model(seed, index, question)
    return LABELS[0 if index is None else _chance(seed, index, "label").randrange(len(LABELS))]


def watermark_model(seed: int, index: int | None, question: str) -> str:
    """The same of all but a few pictures, and of a grey one."""
    if question == PROMPTS["medium"]:
        return world_model(seed, index, question)
    marked = index is not None and _chance(seed, index, "mark").random() < 0.03
    return MARK if marked else NO_MARK


def refusing_model(seed: int, index: int | None, question: str) -> str:
    """A good captioner that refuses one picture of eight."""
    if index is not None and _chance(seed, index, "refuse").random() < 0.125:
        return REFUSAL
    return world_model(seed, index, question)


MODELS: dict[str, Model] = {
    "world": world_model,
    "labels": labels_model,
    "watermark": watermark_model,
    "refusing": refusing_model,
}


class Pretended:
    """An `Engine` on a model; what it says among others differs now and then, as batching has it.

    Args:
        pictures: That it may be shown.
        model: What it says.
        noise: Share of texts that differ among others.
        seed: Of the noise, and of the order in which answers come.
    """

    name = "pretended"
    version = "0"
    on_cpu = False
    patience_s: float | None = None

    def __init__(
        self, pictures: Pictures, model: Model = world_model, noise: float = 0.0, seed: int = 0
    ) -> None:
        self._pictures = pictures
        self._model = model
        self._noise = noise
        self._random = random.Random(seed)
        self._waiting: list[tuple[Ask, int | None]] = []

    def prepare(self, picture: Pixels | None, asks: Sequence[Ask]) -> Prepared:
        """Finds the picture's scene."""
        assert picture is not None
        index = self._pictures.known.get(picture.tobytes())
        return Prepared(tuple(ask.key for ask in asks), (), [(ask, index) for ask in asks])

    def submit(self, prepared: Prepared) -> None:
        """Takes requests."""
        self._waiting += prepared.work

    def step(self) -> list[Generated]:
        """Answers some requests, in any order."""
        crowd = len(self._waiting) > 1
        self._random.shuffle(self._waiting)
        count = min(len(self._waiting), self._random.randint(1, 4))
        ended, self._waiting = self._waiting[:count], self._waiting[count:]
        return [self._answer(ask, index, crowd=crowd) for ask, index in ended]

    def _answer(self, ask: Ask, index: int | None, *, crowd: bool) -> Generated:
        text = self._model(self._pictures.seed, index, ask.question)
        if crowd and self._random.random() < self._noise:
            text = noisy(text, self._random)
        words = text.split(" ")
        most = ask.sampling.max_tokens
        ends = "length" if len(words) > most else "stop"
        return Generated(ask.key, " ".join(words[:most]), ends, min(len(words), most))

    def pending(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    def count_tokens(self, text: str) -> int:
        """Words."""
        return len(text.split())

    def counts(self) -> Mapping[str, int]:
        """Nothing."""
        return {}


class Broken:
    """An `Engine` that shows another one the wrong picture now and then.

    Args:
        engine: A right one.
        fault: What is wrong; caches are those that a fresh request does not use.
        share: Of the requests that have the fault.
        seed: Which ones.
    """

    def __init__(self, engine: Engine, fault: FaultName, share: float = 1.0, seed: int = 0) -> None:
        self._engine = engine
        self._fault = fault
        self._share = share
        self._random = random.Random(seed)
        self._running: deque[Pixels] = deque(maxlen=IN_FLIGHT)
        self._by_shape: dict[tuple[int, ...], Pixels] = {}
        self.name, self.version, self.on_cpu = engine.name, engine.version, engine.on_cpu
        self.patience_s = engine.patience_s

    def prepare(self, picture: Pixels | None, asks: Sequence[Ask]) -> Prepared:
        """Prepares a picture, or another one in its place."""
        assert picture is not None
        shown = self._shown(picture, fresh=asks[0].fresh)
        self._running.append(picture)
        self._by_shape.setdefault(picture.shape, picture)
        return self._engine.prepare(shown, asks)

    def _shown(self, picture: Pixels, *, fresh: bool) -> Pixels:
        cached = self._fault in ("stale", "same_size")
        if self._fault == "blind":  # whether others are in flight or not
            return np.full_like(picture, 128) if self._random.random() < self._share else picture
        spared = fresh if cached else not self._engine.pending()
        if spared or not self._running or self._random.random() >= self._share:
            return picture
        match self._fault:
            case "swap":
                return self._random.choice(self._running)
            case "off_by_one" | "stale":
                return self._running[-1]
            case "same_size":
                return self._by_shape.get(picture.shape, picture)
            case _:
                return np.full_like(picture, 128)

    def submit(self, prepared: Prepared) -> None:
        """As the right one."""
        self._engine.submit(prepared)

    def step(self) -> list[Generated]:
        """As the right one."""
        return self._engine.step()

    def pending(self) -> int:
        """As the right one."""
        return self._engine.pending()

    def count_tokens(self, text: str) -> int:
        """As the right one."""
        return self._engine.count_tokens(text)

    def counts(self) -> Mapping[str, int]:
        """As the right one."""
        return self._engine.counts()


def noisy(text: str, chance: random.Random) -> str:
    """A text as a near tie changes it: another word from some place on, another end, a refusal."""
    words = text.split(" ")
    if len(words) == 1:
        return chance.choice(LABELS)
    kind = chance.random()
    if text in (MARK, NO_MARK) and kind < 0.5:
        return chance.choice((MARK, NO_MARK))
    if kind < 0.02:
        return REFUSAL
    at = chance.randrange(1, len(words))
    if kind < 0.5:  # of the world's words, so that it may become another picture's caption
        swaps = {"red": "orange", "blue": "purple", "circle": "ring", "square": "diamond"}
        swaps |= {"small": "large", "large": "small", "purple": "blue", "ring": "circle"}
        return " ".join(swaps.get(word, word) for word in words)
    if kind < 0.8:
        return " ".join(words[:at])
    return " ".join([*words[:at], "perhaps", *words[at:]])


def _chance(seed: int, index: int, what: str) -> random.Random:
    return random.Random(f"{seed}/{index}/{what}")


def ask_of(number: int, variant: str, max_tokens: int = 256) -> Ask:
    """The run's question about a picture."""
    return Ask(f"0/{number}/{variant}/0", PROMPTS[variant], Sampling(max_tokens=max_tokens))

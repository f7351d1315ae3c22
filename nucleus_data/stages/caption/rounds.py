"""Rows and questions under way, and their preparation, which runs in threads."""

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

from nucleus_data.engines.captioner import Ask, Engine, EngineSettings, Pixels, Prepared
from nucleus_data.pixels import INSPECTED, Picture, PixelError, fit, open_picture
from nucleus_data.stage import Row, TableFailure
from nucleus_data.stages.caption.failures import check_aspect

Fit = Callable[[Picture], Pixels]


@dataclass(eq=False, slots=True)
class Held:
    """A row under way.

    Attributes:
        row: The row.
        wanted: Variants that it lacks.
        live: Number of questions about it without an answer.
        made: Captions made so far, by variant.
        values: The outcome for each table, a row of values or a failure.
        faults: Checks that the attempts of a variant failed, in order.
        broken: Why its picture can't be read, if so.
        sha256: SHA-256 of the picture's file.
    """

    row: Row
    wanted: set[str]
    live: int = 0
    made: dict[str, str] = field(default_factory=dict)
    values: dict[str, Mapping[str, Any] | TableFailure] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)
    broken: TableFailure | None = None
    sha256: str = ""


def first_attempt(row: Row, name: str) -> int:
    """Returns the number of a variant's first attempt in this run: 0 unless it is a retry."""
    return row.attempts.get(f"caption.{name}", 0)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question without an answer yet.

    Attributes:
        held: The row.
        name: The variant.
        attempt: Number of the attempt, from 0.
        ask: The request.
    """

    held: Held
    name: str
    attempt: int
    ask: Ask


@dataclass(eq=False, slots=True)
class Round:
    """Questions about one row that are prepared together.

    Attributes:
        held: The row.
        asked: The questions, by key.
        picture: The decoded picture, as long as truth tests may need it.
        prepared: The engine's preprocessed input.
        broken: Why the picture can't be read, if so.
        error: The exception that preparing raised, if any.
    """

    held: Held
    asked: dict[str, Asked]
    picture: Pixels | None = None
    prepared: Prepared | None = None
    broken: PixelError | None = None
    error: Exception | None = None


def prepare(round_: Round, engine: Engine, fitted: Fit) -> None:
    """Decodes a row's picture, if a question needs it, and preprocesses it; thread-safe.

    Args:
        round_: The round; its `picture` and `prepared`, or `broken`, are set.
        engine: The engine that will be asked.
        fitted: Decodes a picture at the size that the model sees.
    """
    data = round_.held.row.image or b""
    asks = [asked.ask for asked in round_.asked.values()]
    if not round_.held.sha256:
        round_.held.sha256 = hashlib.sha256(data).hexdigest()
    try:
        if any(ask.sees_picture for ask in asks):
            round_.picture = fitted(open_picture(data, INSPECTED))
            check_aspect(round_.picture)
    except PixelError as error:
        round_.broken = error
        asks = [ask for ask in asks if not ask.sees_picture]
    round_.prepared = engine.prepare(round_.picture, asks)


def fitting(settings: EngineSettings) -> Fit:
    """Returns a function that decodes pictures within a model's `max_side` and `max_pixels`."""

    def fitted(picture: Picture) -> Pixels:
        header = picture.header
        size = fit(header.width, header.height, settings.max_side)
        most = settings.max_pixels
        if most is not None and size[0] * size[1] > most:
            scale = sqrt(most / (size[0] * size[1]))
            size = max(1, int(size[0] * scale)), max(1, int(size[1] * scale))
        return picture.rgb(size=size)

    return fitted


class Clock:
    """Accumulates how long the engine worked and how long it waited for pictures, in seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy = self._waited = 0.0

    def add(self, *, busy: float = 0.0, waited: float = 0.0) -> None:
        """Adds seconds of work or waiting."""
        with self._lock:
            self._busy += busy
            self._waited += waited

    def take(self) -> Mapping[str, float]:
        """Returns the time since the last call, in the form of `RowStage.spent`."""
        with self._lock:
            busy, waited = self._busy, self._waited
            self._busy = self._waited = 0.0
        return {"model": busy, "model_waits": waited} if busy else {}

"""Rows through models: threads make pixels and tokens, the caller's thread runs the models.

A row's picture is decoded, scaled and normalised in one of some threads, for each model at its own
scale, straight into the memory of a batch. The caller's thread takes whole batches, in order, as
they are ready; while none is, its models are idle. A batch has rows as they come, of any shard.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nucleus_data.engines.embedder import Embedder, Pixels
from nucleus_data.pixels import INSPECTED, PixelError, open_picture
from nucleus_data.stage import Row, RowFailure

# Full batches of a model's pictures that are made while it runs, or more where they are so small
# that threads would have less than two pictures each. One more is being filled, and two
# may be in the model's hands: with SigLIP 2 at 512 pixels, 64 a batch, each takes 200 MB.
AHEAD = 2
# How long a batch that is not full waits for rows when none is there.
QUIET_S = 0.02
POLL_S = 0.005
Stored = NDArray[np.float16]


@dataclass(eq=False, slots=True)
class Lane:
    """One model, the tables that its vectors go to, and the batches that are being filled."""

    model: Embedder
    image: str
    text: str
    pictures: "Batch | None" = None
    captions: "Batch | None" = None
    waiting: int = 0
    free: list[Pixels] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class RowWork:
    """A row under way.

    Attributes:
        row: The row.
        vectors: What was made of it, by table, in half precision.
        failure: Why its picture can't be embedded.
        left: Batches with something of it that are not done.
    """

    row: Row
    vectors: dict[str, Stored] = field(default_factory=dict)
    failure: RowFailure | None = None
    left: int = 0


@dataclass(eq=False, slots=True)
class Batch:
    """Rows whose pictures, or whose texts, one model embeds at once.

    Attributes:
        lane: The model.
        table: Where the vectors go.
        pixels: Memory for pictures; None for texts.
        rows: At most as many as the model's batch.
        texts, tokens: Of the rows; empty for pictures.
        parts: What threads have to do until it is ready.
    """

    lane: Lane
    table: str
    pixels: Pixels | None = None
    rows: list[RowWork] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    tokens: Any = None
    parts: deque["Future[None]"] = field(default_factory=deque)

    def ready(self, wait_s: float | None = 0.0) -> bool:
        """Whether the threads are done with it; raises what one of them raised.

        Args:
            wait_s: How long to wait at most; None for ever.
        """
        if wait_s != 0 and not all(part.done() for part in self.parts):
            wait(self.parts, wait_s)  # one waking for all of them
        while self.parts:
            if not self.parts[0].done():
                return False
            self.parts.popleft().result()
        return True

    def start(self) -> Any:
        """Has the model begin; None if there is nothing to embed."""
        if all(work.failure for work in self.rows):
            return None
        if self.pixels is None:
            return self.lane.model.start_texts(self.tokens)
        return self.lane.model.start_images(self.pixels)


class Clock:
    """How long models were busy, and how long they waited while rows were under way; in seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy = self._under_way = 0.0

    def add(self, *, busy: float = 0.0, under_way: float = 0.0) -> None:
        """Adds some time."""
        with self._lock:
            self._busy += busy
            self._under_way += under_way

    def take(self) -> Mapping[str, float]:
        """The time since it was taken last, as `RowStage.spent` gives it."""
        with self._lock:
            busy, waits = self._busy, self._under_way - self._busy
            self._busy = self._under_way = 0.0
        return {"model": busy, "model_waits": max(0.0, waits)} if busy else {}


class Batches:
    """The way of rows through the models of a stage.

    Args:
        lanes: The models.
        caption: A row's text, without space around it; empty for none.
        threads: How many make pixels and tokens.
        clock: Takes the models' times.
    """

    def __init__(
        self, lanes: Sequence[Lane], caption: Callable[[Row], str], threads: int, clock: Clock
    ) -> None:
        self._lanes = lanes
        self._caption = caption
        self._clock = clock
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="pixels")
        self._waiting: deque[Batch] = deque()
        self._begun: tuple[Batch, Any] | None = None
        self._busy_since = self._since = 0.0
        self._under_way = 0

    def run(self, rows: Iterator[Row | None]) -> Iterator[RowWork]:
        """Gives back each row with its vectors; what it holds when no row is waiting (None)."""
        try:
            yield from self._run(rows)
        finally:
            self._pool.shutdown(cancel_futures=True)

    def _run(self, rows: Iterator[Row | None]) -> Iterator[RowWork]:
        last = time.perf_counter()
        for row in rows:
            if row is None:
                yield from self._quiet(last)
                continue
            last = time.perf_counter()
            work = self._take(row)
            if not work.left:
                yield work
            else:
                if not self._under_way:
                    self._since = last
                self._under_way += 1
            while self._waiting and (self._crowded() or self._waiting[0].ready()):
                yield from self._next()
        self._close()
        while self._waiting:
            yield from self._next()

    def _take(self, row: Row) -> RowWork:
        """Gives a row's picture and text to the threads."""
        work = RowWork(row)
        pictures, places = [], []
        for lane in self._lanes:
            if lane.image in row.wanted:
                batch = lane.pictures = lane.pictures or Batch(lane, lane.image, _room(lane))
                assert batch.pixels is not None
                places.append((lane.model, batch.pixels[len(batch.rows)]))
                batch.rows.append(work)
                pictures.append(batch)
        text = self._caption(row)
        work.left = len(pictures)
        if pictures:
            part = self._pool.submit(_prepare, work, places)
            for batch in pictures:
                batch.parts.append(part)
                if len(batch.rows) == batch.lane.model.batch:
                    self._close_pictures(batch.lane)
        for lane in self._lanes:
            if text and lane.text in row.wanted:
                lane.captions = lane.captions or Batch(lane, lane.text)
                lane.captions.rows.append(work)
                lane.captions.texts.append(text)
                work.left += 1
                if len(lane.captions.rows) == lane.model.batch:
                    self._close_captions(lane)
        return work

    def _close_pictures(self, lane: Lane) -> None:
        if lane.pictures:
            self._waiting.append(lane.pictures)
            lane.waiting += 1
            lane.pictures = None

    def _close_captions(self, lane: Lane) -> None:
        if lane.captions:
            batch, lane.captions = lane.captions, None
            batch.parts.append(self._pool.submit(_tokens, batch))
            self._waiting.append(batch)

    def _close(self) -> None:
        """Batches that are not full wait no longer."""
        for lane in self._lanes:
            self._close_pictures(lane)
            self._close_captions(lane)

    def _crowded(self) -> bool:
        return any(
            lane.waiting > max(AHEAD, -(-2 * self._threads // lane.model.batch))
            for lane in self._lanes
        )

    def _quiet(self, last: float) -> Iterator[RowWork]:
        """Goes on while no row is there; `last` is when one was."""
        if self._waiting:
            if self._waiting[0].ready(POLL_S):
                yield from self._next()
        elif time.perf_counter() - last > QUIET_S:
            self._close()
        else:
            time.sleep(POLL_S)

    def _next(self) -> Iterator[RowWork]:
        """Runs the oldest batch, and gives back the rows that are done.

        A GPU works while this thread goes on: it gets the next batch, if that is ready, before the
        vectors of the one before are asked for.
        """
        batch = self._waiting[0]
        batch.ready(None)
        self._waiting.popleft()
        batch.lane.waiting -= batch.pixels is not None
        before = self._begun
        if before is None:
            self._busy_since = time.perf_counter()
        self._begun = batch, batch.start()
        if before is not None:
            yield from self._finished(*before)
        if not (self._waiting and self._waiting[0].ready()):
            begun, self._begun = self._begun, None
            yield from self._finished(*begun)

    def _finished(self, batch: Batch, begun: Any) -> Iterator[RowWork]:
        """The rows that are done with this batch."""
        if begun is not None:
            vectors = batch.lane.model.finish(begun)[: len(batch.rows)].astype(np.float16)
            for work, vector in zip(batch.rows, vectors, strict=True):
                work.vectors[batch.table] = vector
        now = time.perf_counter()
        self._clock.add(busy=now - self._busy_since, under_way=now - self._since)
        self._busy_since = self._since = now
        if batch.pixels is not None:
            batch.lane.free.append(batch.pixels)
        for work in batch.rows:
            work.left -= 1
            if not work.left:
                self._under_way -= 1
                yield work


def _room(lane: Lane) -> Pixels:
    """Memory for a batch of pictures: what was used before, as some takes long to get."""
    return lane.free.pop() if lane.free else lane.model.room()


def _prepare(work: RowWork, places: Sequence[tuple[Embedder, Pixels]]) -> None:
    """Makes a row's pixels for each model, in a thread of the pool."""
    try:
        picture = open_picture(work.row.image or b"", INSPECTED)
        for model, pixels in places:
            model.prepare(Image.fromarray(picture.reduced(model.least)), pixels)
    except PixelError as error:
        work.failure = RowFailure(work.row, str(error.reason), error.detail)


def _tokens(batch: Batch) -> None:
    """Makes a batch's tokens, in a thread of the pool."""
    batch.tokens = batch.lane.model.tokens(batch.texts)

"""Batches rows for embedding models: threads preprocess them, the caller's thread runs the models.

A pool's thread decodes, scales and normalises a row's picture for each model, into the memory of a
batch. The caller's thread runs the models on complete batches, in order, and waits if none is
ready. A batch has rows in the order of their arrival, from any shards.
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

# Number of full batches of pictures that are prepared while a model runs; more if each thread would
# have fewer than two pictures. One more is being filled, and the model may hold two: with SigLIP 2
# at 512 pixels and 64 per batch, each takes 200 MB.
AHEAD = 2
QUIET_S = 0.02  # for which an incomplete batch waits for further rows
POLL_S = 0.005
Stored = NDArray[np.float16]


@dataclass(eq=False, slots=True)
class Lane:
    """A model, the names of its tables of vectors, and its batches.

    Attributes:
        pictures, captions: The batches that are being filled.
        waiting: Number of complete batches of pictures that the model has not taken yet.
        free: Memory of earlier batches of pictures, for reuse.
    """

    model: Embedder
    image: str
    text: str
    pictures: "Batch | None" = None
    captions: "Batch | None" = None
    waiting: int = 0
    free: list[Pixels] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class RowWork:
    """A row in process.

    Attributes:
        vectors: Table -> vector, float16[D], so far.
        failure: Set if its picture can't be embedded.
        left: Number of unfinished batches with its picture or caption.
    """

    row: Row
    vectors: dict[str, Stored] = field(default_factory=dict)
    failure: RowFailure | None = None
    left: int = 0


@dataclass(eq=False, slots=True)
class Batch:
    """Rows whose pictures, or whose texts, the model of a lane embeds at once.

    Attributes:
        table: Name of the table of the vectors.
        pixels: Memory for the pixels of pictures; None for a batch of texts.
        rows: The rows, at most the model's batch size.
        texts, tokens: Texts of the rows, and their tokens; empty for pictures.
        parts: Tasks of the thread pool that have to finish before the batch is ready.
    """

    lane: Lane
    table: str
    pixels: Pixels | None = None
    rows: list[RowWork] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    tokens: Any = None
    parts: deque["Future[None]"] = field(default_factory=deque)

    def ready(self, wait_s: float | None = 0.0) -> bool:
        """Returns whether the batch is ready for the model; re-raises a thread's exception.

        Args:
            wait_s: Maximum number of seconds to wait; None for no limit.
        """
        if wait_s != 0 and not all(part.done() for part in self.parts):
            wait(self.parts, wait_s)  # wakes up once for all tasks
        while self.parts:
            if not self.parts[0].done():
                return False
            self.parts.popleft().result()
        return True

    def start(self) -> Any:
        """Starts the model on the batch; returns None if all its rows failed."""
        if all(work.failure for work in self.rows):
            return None
        if self.pixels is None:
            return self.lane.model.start_texts(self.tokens)
        return self.lane.model.start_images(self.pixels)


class Clock:
    """Measures how long models were busy, and how long they waited for rows; in seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy = self._under_way = 0.0

    def add(self, *, busy: float = 0.0, under_way: float = 0.0) -> None:
        """Adds seconds."""
        with self._lock:
            self._busy += busy
            self._under_way += under_way

    def take(self) -> Mapping[str, float]:
        """Returns the times since the last call, in the form of `RowStage.spent`."""
        with self._lock:
            busy, waits = self._busy, self._under_way - self._busy
            self._busy = self._under_way = 0.0
        return {"model": busy, "model_waits": max(0.0, waits)} if busy else {}


class Batches:
    """Runs rows through the models of a stage.

    Args:
        lanes: The models.
        caption: Returns a row's text without surrounding white space; empty for none.
        threads: Number of threads for preprocessing.
        clock: Receives the models' times.
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
        """Yields each row with its vectors; None in `rows` means that no row is available yet."""
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
        """Adds a row's picture and text to batches, and submits their preprocessing."""
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
        """Closes all incomplete batches."""
        for lane in self._lanes:
            self._close_pictures(lane)
            self._close_captions(lane)

    def _crowded(self) -> bool:
        return any(
            lane.waiting > max(AHEAD, -(-2 * self._threads // lane.model.batch))
            for lane in self._lanes
        )

    def _quiet(self, last: float) -> Iterator[RowWork]:
        """Makes progress while no row is available; `last` is the time of the last row."""
        if self._waiting:
            if self._waiting[0].ready(POLL_S):
                yield from self._next()
        elif time.perf_counter() - last > QUIET_S:
            self._close()
        else:
            time.sleep(POLL_S)

    def _next(self) -> Iterator[RowWork]:
        """Starts the oldest batch, and yields the rows that are finished.

        To keep a GPU busy, this precedes the wait for the previous batch's vectors.
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
        """Waits for a batch's vectors, and yields the rows that are finished with it."""
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
    """Returns memory for a batch of pictures; reused, as pinned memory is slow to allocate."""
    return lane.free.pop() if lane.free else lane.model.room()


def _prepare(work: RowWork, places: Sequence[tuple[Embedder, Pixels]]) -> None:
    """Preprocesses a row's picture for each model; runs in a thread of the pool."""
    try:
        picture = open_picture(work.row.image or b"", INSPECTED)
        for model, pixels in places:
            model.prepare(Image.fromarray(picture.reduced(model.least)), pixels)
    except PixelError as error:
        work.failure = RowFailure(work.row, str(error.reason), error.detail)


def _tokens(batch: Batch) -> None:
    """Tokenizes a batch's texts; runs in a thread of the pool."""
    batch.tokens = batch.lane.model.tokens(batch.texts)

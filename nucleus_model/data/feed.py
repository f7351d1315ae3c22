"""Loads planned batches in order, in this process or prefetched by worker processes.

    with Feed(training_set, plans.batches(cursor, share), phase, settings) as feed:
        for loaded in feed:
            ...   # loaded.images, loaded.captions of this process's share of the batch

The batches do not depend on the number of workers. Prefetched batches are discarded when a run
stops: the cursor is that of the last batch that was taken.
"""

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleus_model.data.batches import BatchPlan
from nucleus_model.data.captions import draw_name
from nucleus_model.data.latents_ahead import LatentsAhead
from nucleus_model.data.loader import TrainingSet
from nucleus_model.data.reader import Loaded, Request
from nucleus_model.data.stored import StoredLatents
from nucleus_model.data.streams import BLOCK_ROWS, STREAMS_A_SLOT
from nucleus_model.data.workers import Workers
from nucleus_model.settings.phases import Phase
from nucleus_model.settings.settings import QuickTrainSettings

MOST_WORKERS = 4  # maximum number of workers unless it is configured
# Share of `loader.cache_bytes` for open blocks of pictures; the rest is for captions and indexes.
BLOCKS_SHARE = 0.7
# A worker is given up after so many times the time-out of a read.
DECODING = 3


@dataclass(frozen=True, slots=True)
class LoadedBatch:
    """This process's share of a batch, without samples that could not be decoded.

    Attributes:
        plan: The batch.
        ids: Ids of the B samples.
        images: uint8 (B, height, width, 3), sRGB, valid until the next batch is taken; B may be 0.
        captions: One per sample; empty if it was dropped.
        draws: One key per sample, with which its noise and sigma are drawn.
        latents: Stored latent (1, C, H, W) of each sample, or None if it has to be encoded.
    """

    plan: BatchPlan
    ids: tuple[str, ...]
    images: NDArray[np.uint8]
    captions: tuple[str, ...]
    draws: tuple[str, ...]
    latents: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class _Planned:
    """A planned batch, with the stored latents of its samples."""

    plan: BatchPlan
    latents: list[Any]


class Feed:
    """Iterates over loaded batches.

    Args:
        training_set: The set; its `failures` are updated when a batch is taken.
        plans: The planned batches.
        phase: The phase, for the captions' weights.
        settings: The run's settings.
        most: Maximum number of pictures in this process's share of a batch, by bucket.
        stored: Stored latents of the set; pictures with one are not decoded.
    """

    def __init__(
        self,
        training_set: TrainingSet,
        plans: Iterator[BatchPlan],
        phase: Phase,
        settings: QuickTrainSettings,
        most: list[int],
        stored: StoredLatents | None = None,
    ) -> None:
        self._set, self._stored = training_set, stored
        self._plans = _planned(training_set, plans, most, stored)
        self._phase, self._settings = phase, settings
        self._planned: deque[_Planned] = deque()
        loader = training_set.loader
        self._joined = joined_blocks(training_set, most)
        self.workers: Workers | None = None
        if count := worker_count(training_set):
            pixels = [
                3 * n * b.width * b.height for n, b in zip(most, training_set.buckets, strict=True)
            ]
            self.workers = Workers(
                training_set.source,
                count=count,
                batch_bytes=max(pixels, default=0),
                ahead=loader.ahead,
                joined=self._joined,
                timeout_s=DECODING * loader.timeout_s,
            )
        self._reader = training_set.reader(joined=self._joined)

    def __enter__(self) -> "Feed":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the workers."""
        if self.workers is not None:
            self.workers.close()

    def __iter__(self) -> Iterator[LoadedBatch]:
        """Yields the batches in order."""
        # The first batch is loaded in this process, while the workers are starting.
        planned = next(self._plans, None)
        self._submit()
        if planned is not None:
            yield self._taken(planned, *self._load(planned))
        while True:
            self._submit()
            if not self._planned:
                return
            if self.workers is None:
                planned = self._planned.popleft()
                yield self._taken(planned, *self._load(planned))
            else:
                loaded, pixels = self.workers.take()
                planned = self._planned.popleft()
                self._submit()  # before yielding, so that the workers stay busy
                yield self._taken(planned, loaded, pixels)

    def _submit(self) -> None:
        """Plans batches, and submits them to the workers, up to the prefetch limit."""
        ahead = self.workers.ahead if self.workers is not None else 1
        while len(self._planned) < ahead:
            planned = next(self._plans, None)
            if planned is None:
                return
            self._planned.append(planned)
            if self.workers is not None:
                self.workers.submit(self._request(planned))

    def _request(self, planned: _Planned) -> Request:
        plan, weights = planned.plan, self._phase.captions
        return Request(
            tars=plan.tars.tolist(),
            rows=plan.rows.tolist(),
            size=plan.bucket.size,
            draws=draws_of(plan),
            seed=self._settings.seed,
            dropout=self._settings.caption_dropout,
            weights=None if weights is None else dict(weights),
            slots=range(len(plan.tars)),
            skip=tuple(n for n, latent in enumerate(planned.latents) if latent is not None),
        )

    def _load(self, planned: _Planned) -> tuple[Loaded, NDArray[np.uint8]]:
        width, height = planned.plan.bucket.size
        pixels = np.empty((len(planned.plan.tars), height, width, 3), np.uint8)
        return self._reader.load(self._request(planned), pixels), pixels

    def _taken(self, planned: _Planned, loaded: Loaded, pixels: NDArray[np.uint8]) -> LoadedBatch:
        """Drops samples that could not be decoded, without replacement, and notes them."""
        plan = planned.plan
        if self._stored is not None:  # counted only now, as prefetched batches may never be taken
            for latent in planned.latents:
                self._stored.count(latent)
        for number, reason in loaded.failures.items():
            tar, row = int(plan.tars[number]), int(plan.rows[number])
            ident = self._set.tables.places(tar)["id"][row].tobytes().hex()
            where = self._set.tables.path(tar)
            self._set.failures[ident] = reason if reason.startswith(where) else f"{where}: {reason}"
        good = [n for n in range(len(plan.tars)) if n not in loaded.failures]
        draws = draws_of(plan)
        return LoadedBatch(
            plan,
            tuple(loaded.ids[n] for n in good),
            pixels if len(good) == len(pixels) else pixels[good],
            tuple(loaded.captions[n] for n in good),
            tuple(draws[n] for n in good),
            tuple(planned.latents[n] for n in good),
        )


def _planned(
    training_set: TrainingSet,
    plans: Iterator[BatchPlan],
    most: list[int],
    stored: StoredLatents | None,
) -> Iterator[_Planned]:
    """Yields batches with their stored latents, None for each that is missing."""
    if stored is None:
        for plan in plans:
            yield _Planned(plan, [None] * len(plan.tars))
        return
    ahead = LatentsAhead(training_set.tables, stored, training_set.buckets, most)
    for plan, latents in ahead.run(plans):
        yield _Planned(plan, latents)


def draws_of(plan: BatchPlan) -> list[str]:
    """Returns the keys with which captions and noise of a batch's samples are drawn."""
    turns = [0] * len(plan.tars) if plan.turns is None else plan.turns.tolist()
    return [draw_name(plan.cursor.epoch, turn) for turn in turns]


def worker_count(training_set: TrainingSet) -> int:
    """Returns the number of workers that read a set."""
    configured = training_set.loader.workers
    if configured is not None:
        return configured
    # A set that fits into memory is decoded only once in this process; workers would repeat that.
    return 0 if training_set.fits else min(MOST_WORKERS, max(1, (os.cpu_count() or 1) - 1))


def joined_blocks(training_set: TrainingSet, most: list[int]) -> bool:
    """Whether to read blocks of adjacent pictures at once: if all open blocks fit into the cache.

    Args:
        training_set: The set.
        most: Maximum number of pictures in this process's share of a batch, by bucket.
    """
    if training_set.exact or training_set.store.local:
        return False
    sizes = training_set.tables.tars.column("bytes").to_numpy()
    open_bytes = 0.0
    for bucket, count in zip(training_set.buckets, most, strict=True):
        average = sizes[bucket.tars].sum() / max(1, bucket.samples)
        open_bytes += STREAMS_A_SLOT * count * BLOCK_ROWS * average
    return open_bytes <= BLOCKS_SHARE * training_set.loader.cache_bytes

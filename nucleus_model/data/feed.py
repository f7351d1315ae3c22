"""Loads the batches that `plans` names, in their order, in this process or in workers ahead of it.

    with Feed(training_set, plans.batches(cursor, share), phase, settings) as feed:
        for loaded in feed:
            ...   # loaded.images, loaded.captions, of this process's part of the batch

Whatever the number of workers, the same batches come. What was decoded ahead when a run stops is
forgotten: the cursor is that of the batch which was taken.
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

MOST_WORKERS = 4  # of those that nobody asked for
# Of the bytes for copies, what open blocks of pictures may take; captions and indexes need some.
BLOCKS_SHARE = 0.7
# A picture that takes a worker so many times as long as a read may take is given up.
DECODING = 3


@dataclass(frozen=True, slots=True)
class LoadedBatch:
    """This process's part of a batch; without the samples that could not be decoded.

    Attributes:
        plan: The batch.
        ids: Of the B samples.
        images: uint8 (B, height, width, 3), sRGB, valid until the next batch is taken; B may be 0.
        captions: One a sample; empty where it was dropped.
        draws: What each one's noise and sigma are drawn by.
        latents: Stored ones (1, C, H, W), which need no picture; None where it is to be encoded.
    """

    plan: BatchPlan
    ids: tuple[str, ...]
    images: NDArray[np.uint8]
    captions: tuple[str, ...]
    draws: tuple[str, ...]
    latents: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class _Planned:
    """A batch that is under way: its plan, and the stored latents of its samples."""

    plan: BatchPlan
    latents: list[Any]


class Feed:
    """Batches as they are loaded.

    Args:
        training_set: The set; gets to know what could not be decoded as its batch is taken.
        plans: The batches.
        phase: The phase, for the captions' weights.
        settings: The run's.
        most: Most pictures of a batch that this process gets, by bucket.
        stored: Latents beside the set: no picture is decoded that has one.
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
        # The first batch is loaded here, while the workers import what they need.
        one = next(self._plans, None)
        self._submit()
        if one is not None:
            yield self._taken(one, *self._load(one))
        while True:
            self._submit()
            if not self._planned:
                return
            if self.workers is None:
                one = self._planned.popleft()
                yield self._taken(one, *self._load(one))
            else:
                loaded, pixels = self.workers.take()
                one = self._planned.popleft()
                self._submit()  # before this one is used, so that the workers go on
                yield self._taken(one, loaded, pixels)

    def _submit(self) -> None:
        """Plans, and gives to the workers, as many batches as are to be under way."""
        ahead = self.workers.ahead if self.workers is not None else 1
        while len(self._planned) < ahead:
            one = next(self._plans, None)
            if one is None:
                return
            self._planned.append(one)
            if self.workers is not None:
                self.workers.submit(self._request(one))

    def _request(self, one: _Planned) -> Request:
        plan, weights = one.plan, self._phase.captions
        return Request(
            tars=plan.tars.tolist(),
            rows=plan.rows.tolist(),
            size=plan.bucket.size,
            draws=draws_of(plan),
            seed=self._settings.seed,
            dropout=self._settings.caption_dropout,
            weights=None if weights is None else dict(weights),
            slots=range(len(plan.tars)),
            skip=tuple(n for n, latent in enumerate(one.latents) if latent is not None),
        )

    def _load(self, one: _Planned) -> tuple[Loaded, NDArray[np.uint8]]:
        width, height = one.plan.bucket.size
        pixels = np.empty((len(one.plan.tars), height, width, 3), np.uint8)
        return self._reader.load(self._request(one), pixels), pixels

    def _taken(self, one: _Planned, loaded: Loaded, pixels: NDArray[np.uint8]) -> LoadedBatch:
        """Leaves out, and tells the set, what could not be decoded; nothing comes instead."""
        plan = one.plan
        if self._stored is not None:  # now, as what was planned ahead may never be taken
            for latent in one.latents:
                self._stored.count(latent)
        for number, reason in loaded.failures.items():
            tar, row = int(plan.tars[number]), int(plan.rows[number])
            ident = self._set.tables.places(tar)["id"][row].tobytes().hex()
            where = self._set.tables.path(tar)
            told = reason if reason.startswith(where) else f"{where}: {reason}"
            self._set.failures[ident] = told
        good = [n for n in range(len(plan.tars)) if n not in loaded.failures]
        return LoadedBatch(
            plan,
            tuple(loaded.ids[n] for n in good),
            pixels if len(good) == len(pixels) else pixels[good],
            tuple(loaded.captions[n] for n in good),
            tuple(draws_of(plan)[n] for n in good),
            tuple(one.latents[n] for n in good),
        )


def _planned(
    training_set: TrainingSet,
    plans: Iterator[BatchPlan],
    most: list[int],
    stored: StoredLatents | None,
) -> Iterator[_Planned]:
    """Batches with their stored latents, each None where there is none."""
    if stored is None:
        for plan in plans:
            yield _Planned(plan, [None] * len(plan.tars))
        return
    ahead = LatentsAhead(training_set.tables, stored, training_set.buckets, most)
    for plan, latents in ahead.run(plans):
        yield _Planned(plan, latents)


def draws_of(plan: BatchPlan) -> list[str]:
    """What the captions and the noise of a batch's samples are drawn by."""
    turns = [0] * len(plan.tars) if plan.turns is None else plan.turns.tolist()
    return [draw_name(plan.cursor.epoch, turn) for turn in turns]


def worker_count(training_set: TrainingSet) -> int:
    """How many workers read a set."""
    asked = training_set.loader.workers
    if asked is not None:
        return asked
    # What fits into memory is decoded once, which other processes would do again and again.
    return 0 if training_set.fits else min(MOST_WORKERS, max(1, (os.cpu_count() or 1) - 1))


def joined_blocks(training_set: TrainingSet, most: list[int]) -> bool:
    """Whether blocks of neighbouring pictures are read at once: where all open ones can be kept.

    Args:
        training_set: The set.
        most: Most pictures of a batch that this process gets, by bucket.
    """
    if training_set.exact or training_set.store.local:
        return False
    sizes = training_set.tables.tars.column("bytes").to_numpy()
    open_bytes = 0.0
    for bucket, count in zip(training_set.buckets, most, strict=True):
        average = sizes[bucket.tars].sum() / max(1, bucket.samples)
        open_bytes += STREAMS_A_SLOT * count * BLOCK_ROWS * average
    return open_bytes <= BLOCKS_SHARE * training_set.loader.cache_bytes

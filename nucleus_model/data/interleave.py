"""Interleaves the batches of all aspect buckets in an epoch, given only their numbers.

A bucket's batches are spread evenly over the epoch: batch m of M is at position (m + u) / M, where
u is drawn uniformly from [0, 1). So a rare bucket is spread over the whole epoch, and batch n of
the epoch can be found without computing those before it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nucleus_model.data.draws import Numbers, key_of, units

BLOCK = 4096  # number of batches to sort at once


@dataclass(frozen=True, slots=True)
class Turn:
    """One batch of an epoch.

    Attributes:
        bucket: The bucket's number.
        batch: Which of the bucket's batches, from 0.
    """

    bucket: int
    batch: int


class Interleaving:
    """The buckets of an epoch's batches.

    Args:
        batches: Number of batches of each bucket.
        seed: The run's seed.
        epoch: The epoch.
        block: Approximate number of batches to sort at once; does not affect the order.
    """

    def __init__(self, batches: Sequence[int], seed: int, epoch: int, block: int = BLOCK) -> None:
        self._batches = np.asarray(batches, dtype=np.int64)
        self._keys = [key_of(f"interleave:{epoch}", seed, b) for b in range(len(batches))]
        self._blocks = max(1, -(-len(self) // block))

    def __len__(self) -> int:
        return int(self._batches.sum())

    def turns(self, first: int = 0) -> Iterator[Turn]:
        """Yields the epoch's batches, starting with batch `first`."""
        low, high = 0, self._blocks
        while low + 1 < high:  # the last block that begins at `first` or before
            middle = (low + high) // 2
            low, high = (middle, high) if self._before(middle).sum() <= first else (low, middle)
        skipped = first - int(self._before(low).sum())
        for block in range(low, self._blocks):
            yield from self._block(block)[skipped:]
            skipped = 0

    def _before(self, block: int) -> Numbers:
        """Returns how many batches of each bucket come before a block."""
        place = self._batches * (block / self._blocks)
        whole = np.floor(place).astype(np.int64)
        inside = [
            m < count and units(key, np.array([m]))[0] < share
            for key, m, count, share in zip(
                self._keys, whole, self._batches, place - whole, strict=True
            )
        ]
        return whole + np.asarray(inside, dtype=np.int64)

    def _block(self, block: int) -> list[Turn]:
        starts, ends = self._before(block), self._before(block + 1)
        if block + 1 == self._blocks:
            ends = self._batches  # despite rounding
        numbers = [np.arange(start, end) for start, end in zip(starts, ends, strict=True)]
        places = np.concatenate(
            [
                (m + units(key, m)) / max(1, count)
                for key, m, count in zip(self._keys, numbers, self._batches, strict=True)
            ]
        )
        buckets = np.repeat(np.arange(len(numbers)), [len(m) for m in numbers])
        order = np.argsort(places, kind="stable")
        pairs = zip(buckets[order].tolist(), np.concatenate(numbers)[order].tolist(), strict=True)
        return [Turn(bucket, batch) for bucket, batch in pairs]

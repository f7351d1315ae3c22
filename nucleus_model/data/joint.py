"""A joint order of two sets, in which pictures that both have take the same slots.

Two runs with one seed are only a pair if they see the same pictures at the same steps. If ids
differ, as after filtering, separate orders would diverge at the first step. So the union of both
sets' pictures is put into the exact order of a set of all of them (`exact`), and a slot whose
picture a set lacks is filled with another of its pictures from the same bucket. Both runs take the
same number of steps and, if each set has pictures in all buckets of the other, of image tokens;
how often each sees its own pictures follows from that.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nucleus_data.hashing import config_hash, keyed_unit
from nucleus_model.data.draws import Numbers, as_bytes, as_hex, keyed
from nucleus_model.data.exact import exact_epoch

Bytes16 = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class JointOrder:
    """The training pictures of two sets.

    Attributes:
        ids: (N, 16) unique ids, ascending.
        sizes: (N, 2) width and height of each picture's bucket, in pixels.
    """

    ids: Bytes16
    sizes: Numbers

    @classmethod
    def of(cls, buckets: Mapping[str, tuple[int, int]]) -> "JointOrder":
        """Makes the order from id -> width and height of the bucket."""
        names = sorted(buckets)
        sizes = np.array([buckets[name] for name in names], np.int64).reshape(-1, 2)
        return cls(as_bytes(names), sizes)

    def digest(self) -> str:
        """Hashes the pictures and buckets, which with the seed determine the order."""
        return config_hash([[i.decode() for i in as_hex(self.ids)], self.sizes.tolist()])

    @cached_property
    def _whole(self) -> NDArray[np.bytes_]:
        return _whole(self.ids)

    def has(self, ids: Bytes16) -> NDArray[np.bool_]:
        """Returns a mask of the ids that are in the order."""
        return np.isin(_whole(ids), self._whole)

    def places(self, ids: Bytes16) -> Numbers:
        """Returns the indices of ids, all of which must be in the order."""
        return np.searchsorted(self._whole, _whole(ids))


@dataclass(frozen=True)
class JointEpoch:
    """An epoch of the joint order for one of the sets.

    Attributes:
        numbers: Numbers of the set's own pictures, batch by batch.
        turns: How often each occurred in this epoch before.
        ends: The end of each batch.
    """

    numbers: Numbers
    turns: Numbers
    ends: Numbers

    def __len__(self) -> int:
        return len(self.ends)

    def batch(self, number: int) -> tuple[Numbers, Numbers]:
        """Returns the numbers and the turns of one batch."""
        part = slice(self.ends[number - 1] if number else 0, self.ends[number])
        return self.numbers[part], self.turns[part]


def joint_epoch(
    order: JointOrder, ids: Bytes16, sizes: Numbers, *, batch_size: int, seed: int, epoch: int
) -> JointEpoch:
    """Plans a set's batches of an epoch of the union.

    Args:
        order: The union.
        ids: Ids of the set's own pictures, uint8 (M, 16), each of which is in the order.
        sizes: Width and height of their buckets, in pixels, (M, 2).
        batch_size: Number of samples of full batches.
        seed: The run's seed.
        epoch: The epoch, from 0.

    Returns:
        The set's epoch. The number of batches, and of samples in each, is the same for every set of
        this order. All samples of a batch are from the same bucket: that of the union's batch, or,
        if the set has no picture in that bucket, another one (of the same area if there is one).
    """
    buckets, of_slot = np.unique(order.sizes, axis=0, return_inverse=True)
    planned = exact_epoch(
        order.ids, of_slot.ravel(), [batch_size] * len(buckets), seed=seed, epoch=epoch
    )
    # If a picture is in another bucket than in the order, the set is treated as lacking it.
    own = np.full(len(order.ids), -1, np.int64)
    places = order.places(ids)
    same = (order.sizes[places] == sizes).all(axis=1)
    own[places[same]] = np.flatnonzero(same)
    numbers = own[planned.order]
    turns = np.zeros(len(numbers), np.int64)
    fillers = _Fillers(ids, sizes, seed, epoch)
    starts = np.concatenate([[0], planned.ends[:-1]])
    lacking = np.flatnonzero(np.minimum.reduceat(numbers, starts) < 0)
    for number in lacking.tolist():
        part = slice(starts[number], planned.ends[number])
        bucket = tuple(order.sizes[planned.order[starts[number]]].tolist())
        if bucket not in fillers.orders:
            # The set has no pictures of this bucket, so the whole batch is filled from another.
            bucket = fillers.other(number, bucket)
        missing = part.start + np.flatnonzero(numbers[part] < 0)
        numbers[missing], turns[missing] = fillers.take(bucket, len(missing))
    return JointEpoch(numbers, turns, planned.ends)


class _Fillers:
    """Supplies a set's own pictures, bucket by bucket, for slots whose picture it lacks."""

    def __init__(self, ids: Bytes16, sizes: Numbers, seed: int, epoch: int) -> None:
        self.seed, self.epoch = seed, epoch
        keys = keyed(f"filler:{epoch}", seed, ids)
        buckets, of = np.unique(sizes, axis=0, return_inverse=True)
        self.orders: dict[tuple[int, ...], Numbers] = {}
        for number, bucket in enumerate(buckets.tolist()):
            rows = np.flatnonzero(of.ravel() == number)
            self.orders[tuple(bucket)] = rows[np.argsort(keys[rows], kind="stable")]
        self.taken = dict.fromkeys(self.orders, 0)

    def take(self, bucket: tuple[int, ...], count: int) -> tuple[Numbers, Numbers]:
        """Returns the next pictures of a bucket, and how often each occurred before."""
        order = self.orders[bucket]
        places = self.taken[bucket] + np.arange(count)
        self.taken[bucket] += count
        return order[places % len(order)], 1 + places // len(order)

    def other(self, number: int, lacking: tuple[int, ...]) -> tuple[int, ...]:
        """Draws one of the set's buckets, with a probability proportional to its size.

        Buckets with the area of the one that is lacking come first: their pictures have as many
        image tokens.
        """
        alike = [bucket for bucket in self.orders if math.prod(bucket) == math.prod(lacking)]
        buckets = alike or list(self.orders)
        counts = np.cumsum([len(self.orders[bucket]) for bucket in buckets])
        point = keyed_unit(f"filler-bucket:{self.epoch}", self.seed, str(number)) * counts[-1]
        return buckets[int(np.searchsorted(counts, point, side="right"))]


def _whole(ids: Bytes16) -> NDArray[np.bytes_]:
    """Returns ids as scalars, which sort like their hex digits."""
    return np.ascontiguousarray(ids).view("S16").ravel()

"""One order for two sets: pictures that both have take the same places, whatever else differs.

Two runs of one seed are a pair only if they meet the same pictures at the same steps. Where ids
differ, and filters make them differ, orders of their own would part the runs at the first step. So
the union of both sets' pictures is put into the order that one set of them all would have
(`exact`), and a place whose picture a set lacks is filled with another of its own pictures of the
same bucket. Both runs take equally many steps of equally many image tokens; how often each meets
its own pictures follows.
"""

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
    """The pictures of two sets that are trained on.

    Attributes:
        ids: (N, 16), ascending, each once.
        sizes: (N, 2) width and height of its bucket, in pixels.
    """

    ids: Bytes16
    sizes: Numbers

    @classmethod
    def of(cls, buckets: Mapping[str, tuple[int, int]]) -> "JointOrder":
        """The order of pictures of these ids, in these buckets."""
        names = sorted(buckets)
        sizes = np.array([buckets[name] for name in names], np.int64).reshape(-1, 2)
        return cls(as_bytes(names), sizes)

    def digest(self) -> str:
        """Hashes the order: runs of one digest and seed take the same places."""
        return config_hash([[i.decode() for i in as_hex(self.ids)], self.sizes.tolist()])

    @cached_property
    def _whole(self) -> NDArray[np.bytes_]:
        return _whole(self.ids)

    def has(self, ids: Bytes16) -> NDArray[np.bool_]:
        """Which ids are in the order."""
        return np.isin(_whole(ids), self._whole)

    def places(self, ids: Bytes16) -> Numbers:
        """Where ids, each of which is in the order, are in it."""
        return np.searchsorted(self._whole, _whole(ids))


@dataclass(frozen=True)
class JointEpoch:
    """An epoch of the union as one set takes it.

    Attributes:
        numbers: Numbers of the set's own pictures, batch by batch.
        turns: How often the epoch has had each before.
        ends: Where each batch ends.
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
        ids: (M, 16) of the set's own pictures, each in the order.
        sizes: (M, 2) width and height of their buckets.
        batch_size: Samples of whole batches.
        seed: Of the run.
        epoch: From 0.

    Returns:
        As many batches, of as many samples, as any set of this order has. A batch is of one bucket:
        the union's, or, where the set has no picture of it, one of the set's own.
    """
    buckets, of_slot = np.unique(order.sizes, axis=0, return_inverse=True)
    planned = exact_epoch(
        order.ids, of_slot.ravel(), [batch_size] * len(buckets), seed=seed, epoch=epoch
    )
    # A picture that lies in another bucket than the order says is one that the set lacks there.
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
            # Then none of its pictures is the set's own, and all of the batch is filled.
            bucket = fillers.other(number)
        missing = part.start + np.flatnonzero(numbers[part] < 0)
        numbers[missing], turns[missing] = fillers.take(bucket, len(missing))
    return JointEpoch(numbers, turns, planned.ends)


class _Fillers:
    """A set's pictures for places whose own picture it lacks; each bucket's in turn."""

    def __init__(self, ids: Bytes16, sizes: Numbers, seed: int, epoch: int) -> None:
        self.seed, self.epoch = seed, epoch
        keys = keyed(f"filler:{epoch}", seed, ids)
        buckets, of = np.unique(sizes, axis=0, return_inverse=True)
        self.orders: dict[tuple[int, ...], Numbers] = {}
        for number, bucket in enumerate(buckets.tolist()):
            mine = np.flatnonzero(of.ravel() == number)
            self.orders[tuple(bucket)] = mine[np.argsort(keys[mine], kind="stable")]
        self.taken = dict.fromkeys(self.orders, 0)

    def take(self, bucket: tuple[int, ...], count: int) -> tuple[Numbers, Numbers]:
        """The next pictures of a bucket, and how often each was there before."""
        order = self.orders[bucket]
        places = self.taken[bucket] + np.arange(count)
        self.taken[bucket] += count
        return order[places % len(order)], 1 + places // len(order)

    def other(self, number: int) -> tuple[int, ...]:
        """A bucket that the set has, by its share."""
        counts = np.cumsum([len(order) for order in self.orders.values()])
        point = keyed_unit(f"filler-bucket:{self.epoch}", self.seed, str(number)) * counts[-1]
        return list(self.orders)[int(np.searchsorted(counts, point, side="right"))]


def _whole(ids: Bytes16) -> NDArray[np.bytes_]:
    """Ids as one value each, which sort as their digits do."""
    return np.ascontiguousarray(ids).view("S16").ravel()

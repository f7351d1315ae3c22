"""The order of a set of fewer than some million samples: a keyed hash of every id, every epoch.

An aspect bucket's samples stand in the order of the keyed hash of (seed, epoch, id) and are cut
into batches; the batches of all buckets are ordered by the keyed hash of their first id. Neither
the tars nor the order of the set has a say, so equal samples in other sets come in the same order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nucleus_model.data.draws import Numbers, keyed, mixed


@dataclass(frozen=True, slots=True)
class Epoch:
    """An epoch's batches.

    Attributes:
        order: Numbers of samples, batch by batch.
        ends: Where each batch ends in `order`.
    """

    order: Numbers
    ends: Numbers

    def __len__(self) -> int:
        return len(self.ends)

    def batch(self, number: int) -> Numbers:
        """Returns the samples of one batch, by number."""
        start = self.ends[number - 1] if number else 0
        return self.order[start : self.ends[number]]


def exact_epoch(
    ids: NDArray[np.uint8],
    buckets: NDArray[np.integer],
    batch_sizes: Sequence[int],
    *,
    seed: int,
    epoch: int,
    copies: NDArray[np.integer] | None = None,
) -> Epoch:
    """Cuts an epoch into batches of one aspect bucket each, every sample once.

    A bucket's last batch may be smaller.

    Args:
        ids: (N, 16) ids, ascending.
        buckets: Each sample's bucket, a number from 0.
        batch_sizes: Samples a batch, by bucket.
        seed: Of the run.
        epoch: The epoch.
        copies: Of an id that is there several times, which of them it is, from 0.
    """
    keys = keyed(f"order:{epoch}", seed, ids)
    if copies is not None:
        keys = np.where(copies > 0, mixed(keys + copies.astype(np.uint64)), keys)
    # Stable: of equal hashes, the smaller id first.
    order = np.argsort(keys, kind="stable")
    order = order[np.argsort(buckets[order], kind="stable")]
    counts = np.bincount(buckets, minlength=len(batch_sizes))
    starts, sizes = [], []
    for count, start, size in zip(counts, np.cumsum(counts) - counts, batch_sizes, strict=True):
        places = np.arange(0, count, size)
        starts.append(start + places)
        sizes.append(np.minimum(size, count - places))
    begins, lengths = np.concatenate(starts), np.concatenate(sizes)
    # Batches are mixed too, so that buckets do not come one after the other.
    firsts = keyed(f"batch:{epoch}", seed, ids[order[begins]])
    turns = np.argsort(firsts, kind="stable")
    begins, lengths = begins[turns], lengths[turns]
    ends = np.cumsum(lengths)
    # Batch by batch, without a loop: each place of the result, and how far it is into its batch.
    inside = np.arange(len(order)) - np.repeat(ends - lengths, lengths)
    return Epoch(order[np.repeat(begins, lengths) + inside], ends)

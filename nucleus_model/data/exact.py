"""The exact shuffle, for sets of up to a few million samples: sorts by a keyed hash of every id.

In each epoch, an aspect bucket's samples are sorted by the keyed hash of (seed, epoch, id) and cut
into batches; the batches of all buckets are then sorted by the keyed hash of their first id. The
order does not depend on the tars or the order of the set, so samples that two sets share come in
the same relative order.
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
        order: Numbers of the samples, batch by batch.
        ends: The end of each batch in `order`.
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
    """Cuts an epoch into batches of one aspect bucket each, with every sample once.

    A bucket's last batch may be smaller.

    Args:
        ids: (N, 16) ids, ascending.
        buckets: (N,) each sample's bucket, from 0.
        batch_sizes: Samples per batch, by bucket.
        seed: The run's seed.
        epoch: The epoch.
        copies: (N,) for ids that occur several times, the number of the occurrence, from 0.
    """
    keys = keyed(f"order:{epoch}", seed, ids)
    if copies is not None:
        keys = np.where(copies > 0, mixed(keys + copies.astype(np.uint64)), keys)
    # A stable sort: of equal hashes, the smaller id comes first.
    order = np.argsort(keys, kind="stable")
    order = order[np.argsort(buckets[order], kind="stable")]
    counts = np.bincount(buckets, minlength=len(batch_sizes))
    starts, sizes = [], []
    for count, start, size in zip(counts, np.cumsum(counts) - counts, batch_sizes, strict=True):
        places = np.arange(0, count, size)
        starts.append(start + places)
        sizes.append(np.minimum(size, count - places))
    begins, lengths = np.concatenate(starts), np.concatenate(sizes)
    # Batches are shuffled as well, so that buckets do not come one after the other.
    firsts = keyed(f"batch:{epoch}", seed, ids[order[begins]])
    turns = np.argsort(firsts, kind="stable")
    begins, lengths = begins[turns], lengths[turns]
    ends = np.cumsum(lengths)
    # Vectorized concatenation of the batches: the index of each result within its batch.
    inside = np.arange(len(order)) - np.repeat(ends - lengths, lengths)
    return Epoch(order[np.repeat(begins, lengths) + inside], ends)

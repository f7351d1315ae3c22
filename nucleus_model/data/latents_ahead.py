"""Prefetches the stored latents of batches, one window of batches at a time.

While the batches of one window are being used, the latents of the next one are read. Within a
window, adjacent values of a file are read in one request, and a value that several batches need is
read once.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from nucleus_model.data.batches import BatchPlan
from nucleus_model.data.samples import Bucket
from nucleus_model.data.stored import Latent, StoredLatents
from nucleus_model.data.tables import Tables

# Maximum size of a window, in bytes of latents as tensors; two windows are in memory.
WINDOW_BYTES = 64 << 20
WINDOW_BATCHES = 32


class LatentsAhead:
    """Prefetches the stored latents of batches.

    Args:
        tables: The set's tables.
        stored: The stored latents.
        buckets: The set's buckets.
        most: Maximum number of pictures in a process's share of a batch, by bucket.
    """

    def __init__(
        self,
        tables: Tables,
        stored: StoredLatents,
        buckets: Sequence[Bucket],
        most: Sequence[int],
    ) -> None:
        self._tables, self._stored = tables, stored
        self._bytes = {
            bucket.size: count * stored.bytes_of(bucket.size)
            for bucket, count in zip(buckets, most, strict=True)
        }

    def run(self, plans: Iterator[BatchPlan]) -> Iterator[tuple[BatchPlan, list[Latent]]]:
        """Yields batches in order, each with its latents, None for each that is missing."""
        # Windows start small, so that the first batches do not have to wait long.
        size = 1
        window, read = self._begin(plans, size)
        while window:
            following = None
            latents = iter(read())
            for plan in window:
                yield plan, [next(latents) for _ in range(len(plan.tars))]
                # Start on the next window as soon as a second batch of this one is requested.
                if following is None:
                    size = min(2 * size, WINDOW_BATCHES)
                    following = self._begin(plans, size)
            assert following is not None
            window, read = following

    def _begin(
        self, plans: Iterator[BatchPlan], most: int
    ) -> tuple[list[BatchPlan], Callable[[], list[Latent]]]:
        """Starts reading the latents of the next batches.

        The number of batches depends only on their plans, so it is the same in all processes. This
        is required, as making some plans is a collective operation.
        """
        window: list[BatchPlan] = []
        total = 0
        while len(window) < most and total < WINDOW_BYTES:
            plan = next(plans, None)
            if plan is None:
                break
            window.append(plan)
            total += self._bytes[plan.bucket.size]
        return window, self._stored.begin([sample for plan in window for sample in self._of(plan)])

    def _of(self, plan: BatchPlan) -> Iterator[tuple[str, str, tuple[int, int]]]:
        size: tuple[int, int] = plan.bucket.size
        ids: Any
        for tar, row in zip(plan.tars.tolist(), plan.rows.tolist(), strict=True):
            ids = self._tables.places(tar)["id"]
            yield self._tables.path(tar), ids[row].tobytes().hex(), size

"""Batches with the latents that lie beside the set: a window of batches is read at once.

While one window's batches are taken, the next one's latents are under way. In a window, what lies
next to each other in a file is one request, and what several batches have is read once.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from nucleus_model.data.batches import BatchPlan
from nucleus_model.data.samples import Bucket
from nucleus_model.data.stored import Latent, StoredLatents
from nucleus_model.data.tables import Tables

# Of latents as tensors. Two windows are held.
WINDOW_BYTES = 64 << 20
WINDOW_BATCHES = 32


class LatentsAhead:
    """Reads the stored latents of batches ahead.

    Args:
        tables: Of the set.
        stored: The latents.
        buckets: The set's.
        most: Most pictures of a batch that a process gets, by bucket.
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
        """Batches in their order, each with its latents; None for one that is not there."""
        # The first batches are waited for: they come in small windows.
        size = 1
        window, read = self._begin(plans, size)
        while window:
            following = None
            latents = iter(read())
            for plan in window:
                yield plan, [next(latents) for _ in range(len(plan.tars))]
                # Once somebody comes back for more.
                if following is None:
                    size = min(2 * size, WINDOW_BATCHES)
                    following = self._begin(plans, size)
            assert following is not None
            window, read = following

    def _begin(
        self, plans: Iterator[BatchPlan], most: int
    ) -> tuple[list[BatchPlan], Callable[[], list[Latent]]]:
        """Begins to read the latents of the next batches.

        How many these are depends on nothing but the batches, so it is the same in all processes:
        some plans are made by all of them together.
        """
        window: list[BatchPlan] = []
        total = 0
        while len(window) < most and total < WINDOW_BYTES:
            plan = next(plans, None)
            if plan is None:
                break
            window.append(plan)
            total += self._bytes[plan.bucket.size]
        return window, self._stored.begin([one for plan in window for one in self._of(plan)])

    def _of(self, plan: BatchPlan) -> Iterator[tuple[str, str, tuple[int, int]]]:
        size: tuple[int, int] = plan.bucket.size
        ids: Any
        for tar, row in zip(plan.tars.tolist(), plan.rows.tolist(), strict=True):
            ids = self._tables.places(tar)["id"]
            yield self._tables.path(tar), ids[row].tobytes().hex(), size

"""Plans the batches of a set with an exact order (`exact`)."""

from collections.abc import Iterator

import numpy as np

from nucleus_model.data.batches import BatchPlan, Cursor, Share
from nucleus_model.data.chosen import Chosen
from nucleus_model.data.draws import Numbers
from nucleus_model.data.exact import Epoch, exact_epoch
from nucleus_model.data.loader import TrainingSet
from nucleus_model.data.view import View


class ExactBatches:
    """The exact shuffle (`exact`); each process takes a contiguous part of each batch."""

    def __init__(
        self,
        training_set: TrainingSet,
        chosen: Chosen,
        view: View,
        used: list[bool],
        batch_sizes: list[int],
    ) -> None:
        self._set, self._view, self._sizes = training_set, view, batch_sizes
        numbers = chosen.numbers
        tars, _ = training_set.place(numbers)
        kept = np.asarray(used)[training_set.bucket_of[tars]]
        if view.captions is not None:
            captioned = training_set.by_tar(lambda t: view.with_caption(training_set.tables, t))
            kept &= captioned[numbers]
        self._numbers = numbers[kept]
        self._epoch: tuple[int, Numbers, Numbers | None, Epoch] | None = None
        numbers, _ = self._times(0)
        tars, _ = training_set.place(numbers)
        counts = np.bincount(training_set.bucket_of[tars], minlength=len(batch_sizes))
        self.samples = len(numbers)
        self.rests = int((counts % batch_sizes > 0).sum())

    def _times(self, epoch: int) -> tuple[Numbers, Numbers | None]:
        """Returns the numbers of an epoch's samples, sorted by id, and which copy each one is."""
        if self._view.mixture is None:
            return self._numbers, None
        tables = self._set.tables
        times = self._set.by_tar(
            lambda tar: self._view.times(tables, tar, tables.places(tar)["id"], epoch)
        )[self._numbers]
        starts = np.repeat(np.cumsum(times) - times, times)
        return np.repeat(self._numbers, times), np.arange(len(starts)) - starts

    def _planned(self, epoch: int) -> tuple[Numbers, Numbers | None, Epoch]:
        if self._epoch is None or self._epoch[0] != epoch:
            numbers, copies = self._times(epoch)
            tars, _ = self._set.place(numbers)
            made = exact_epoch(
                self._set.tables.whole()["id"][numbers],
                self._set.bucket_of[tars],
                self._sizes,
                seed=self._view.seed,
                epoch=epoch,
                copies=copies,
            )
            self._epoch = epoch, numbers, copies, made
        return self._epoch[1:]

    def batches(self, cursor: Cursor, share: Share) -> Iterator[BatchPlan]:
        """Plans an epoch's batches, starting with the cursor's."""
        numbers, copies, epoch = self._planned(cursor.epoch)
        for number in range(cursor.batch, len(epoch)):
            every = numbers[epoch.batch(number)]
            # Parts are as even as possible; those of a small last batch may be empty.
            low, high = (len(every) * rank // share.size for rank in (share.rank, share.rank + 1))
            tars, rows = self._set.place(every)
            bucket = self._set.buckets[self._set.bucket_of[tars[0]]]
            yield BatchPlan(
                Cursor(cursor.phase, cursor.epoch, number),
                bucket,
                tars[low:high],
                rows[low:high],
                len(every),
                None if copies is None else copies[epoch.batch(number)][low:high],
            )

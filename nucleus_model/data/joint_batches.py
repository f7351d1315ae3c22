"""Plans the batches of one of two compared sets, in their joint order (`joint`)."""

from collections.abc import Iterator

import numpy as np

from nucleus_model.data.batches import BatchPlan, Cursor, Share
from nucleus_model.data.chosen import Chosen
from nucleus_model.data.joint import JointOrder, joint_epoch
from nucleus_model.data.loader import TrainingSet


class JointBatches:
    """The joint order of two compared sets (`joint`), for one of them."""

    def __init__(
        self,
        training_set: TrainingSet,
        chosen: Chosen,
        joint: JointOrder,
        used: list[bool],
        batch_size: int,
        seed: int,
    ) -> None:
        if not training_set.exact or not all(used):
            raise ValueError("a joint order needs sets with an exact order and all their aspects")
        self._set, self._joint, self._size, self._seed = training_set, joint, batch_size, seed
        ids = training_set.tables.whole()["id"][chosen.numbers]
        self._numbers = chosen.numbers[joint.has(ids)]
        self.samples = len(joint.ids) if len(self._numbers) else 0
        _, counts = np.unique(joint.sizes, axis=0, return_counts=True)
        self.rests = int((counts % batch_size > 0).sum())

    def batches(self, cursor: Cursor, share: Share) -> Iterator[BatchPlan]:
        """Plans an epoch's batches, starting with the cursor's."""
        tars, rows = self._set.place(self._numbers)
        sizes = np.array([bucket.size for bucket in self._set.buckets], np.int64)
        planned = joint_epoch(
            self._joint,
            self._set.tables.whole()["id"][self._numbers],
            sizes[self._set.bucket_of[tars]],
            batch_size=self._size,
            seed=self._seed,
            epoch=cursor.epoch,
        )
        for number in range(cursor.batch, len(planned)):
            every, turns = planned.batch(number)
            low, high = (len(every) * rank // share.size for rank in (share.rank, share.rank + 1))
            numbers = every[low:high]
            bucket = self._set.buckets[self._set.bucket_of[tars[every[0]]]]
            place = Cursor(cursor.phase, cursor.epoch, number)
            yield BatchPlan(
                place, bucket, tars[numbers], rows[numbers], len(every), turns[low:high]
            )

"""Which samples each batch of a run has: a function of set, edition, view, seed, epoch and number.

A `Cursor` says how far a run has come, in numbers that survive in JSON; it is all the state there
is, whatever the number of processes or workers, so a run goes on exactly where it was.

    plans = Plans(training_set, chosen, view, phase, settings, multiple=8)
    for plan in plans.batches(Cursor(), Share()):
        ...   # plan.tars, plan.rows; plan.after is where to go on from
"""

from collections.abc import Iterator

from nucleus_model.data.batches import BatchPlan, Cursor, Gather, Order, Share
from nucleus_model.data.chosen import Chosen
from nucleus_model.data.exact_batches import ExactBatches
from nucleus_model.data.joint import JointOrder
from nucleus_model.data.joint_batches import JointBatches
from nucleus_model.data.loader import TrainingSet
from nucleus_model.data.samples import Bucket
from nucleus_model.data.stream_batches import StreamBatches
from nucleus_model.data.view import View
from nucleus_model.settings.phases import Phase
from nucleus_model.settings.settings import QuickTrainSettings


class Plans:
    """A phase's batches.

    Args:
        training_set: The set at the phase's resolution.
        chosen: What of it is trained on.
        phase: The phase, as `settings.plan` gives it.
        settings: The run's.
        multiple: Pixels on the side of a token, for `batch_tokens`.
        share: This process among all of them, and
        gather: its texts with theirs: each counts a part of a large set's tars.
        joint: The order of two sets that are compared; None for the set's own.

    Attributes:
        batch_sizes: Samples a batch, by the bucket's number.
        samples: How many samples an epoch has.
        rests: How many of its batches are smaller: the last one of a bucket, which is kept.
    """

    def __init__(
        self,
        training_set: TrainingSet,
        chosen: Chosen,
        phase: Phase,
        settings: QuickTrainSettings,
        multiple: int,
        share: Share | None = None,
        gather: Gather | None = None,
        joint: JointOrder | None = None,
    ) -> None:
        self.batch_sizes = [batch_size(bucket, phase, multiple) for bucket in training_set.buckets]
        view = View.of(settings, phase, training_set.edition.without)
        used = [
            phase.aspects is None or bucket.aspect in phase.aspects
            for bucket in training_set.buckets
        ]
        if joint is not None:
            self._order: Order = JointBatches(
                training_set, chosen, joint, used, phase.batch_size or 1, settings.seed
            )
        elif training_set.exact:
            self._order = ExactBatches(training_set, chosen, view, used, self.batch_sizes)
        else:
            if share is None or gather is None:
                share, gather = Share(), lambda text: [text]
            self._order = StreamBatches(
                training_set, view, used, self.batch_sizes, settings.streams, share, gather
            )
        self.samples, self.rests = self._order.samples, self._order.rests

    def batches(self, start: Cursor, share: Share) -> Iterator[BatchPlan]:
        """Plans the batches of epoch after epoch, without end.

        Args:
            start: Where to begin; its `phase` is passed on.
            share: Which part of each batch is this process's.

        Yields:
            One plan a step; none at all if the phase has no sample.
        """
        while self.samples:
            yield from self._order.batches(start, share)
            start = Cursor(start.phase, start.epoch + 1)


def batch_size(bucket: Bucket, phase: Phase, multiple: int) -> int:
    """Samples of a bucket in a batch.

    Args:
        bucket: The bucket.
        phase: `batch_size`, or `batch_tokens`.
        multiple: Pixels on the side of a token.
    """
    if phase.batch_tokens is None:
        return phase.batch_size or 1
    tokens = (bucket.width // multiple) * (bucket.height // multiple)
    return max(1, phase.batch_tokens // max(1, tokens))

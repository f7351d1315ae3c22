"""Plans the batches of a run: a function of set, edition, view, seed, epoch and batch number.

A `Cursor`, which is JSON-able, is the entire state of the data order, whatever the number of
processes or workers, so a run resumes exactly where it stopped.

    plans = Plans(training_set, chosen, phase, settings, multiple=8)
    for plan in plans.batches(Cursor(), Share()):
        ...   # plan.tars, plan.rows; plan.after is the cursor to resume from
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
    """The batches of a phase.

    Args:
        training_set: The set at the phase's resolution.
        chosen: The samples to train on.
        phase: The phase, from `settings.plan`.
        settings: The run's settings.
        multiple: Side of an image token in pixels, for `batch_tokens`.
        share: This process's share of the work of counting a large set's tars; None for all.
        gather: Gathers a text from each process, for that; None for a single process.
        joint: The joint order, if two sets are compared; None for the set's own.

    Attributes:
        batch_sizes: Samples per batch, by bucket.
        samples: Number of samples of an epoch.
        rests: Number of an epoch's smaller batches: the last ones of buckets, which are kept.
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
        """Plans the batches of one epoch after the other, without end.

        Args:
            start: The first batch; its `phase` is passed on.
            share: This process's share of each batch.

        Yields:
            One plan per step; nothing if the phase has no samples.
        """
        while self.samples:
            yield from self._order.batches(start, share)
            start = Cursor(start.phase, start.epoch + 1)


def batch_size(bucket: Bucket, phase: Phase, multiple: int) -> int:
    """Returns the number of samples in a bucket's batches.

    Args:
        bucket: The bucket.
        phase: The phase, which has `batch_size` or `batch_tokens`.
        multiple: Side of an image token in pixels.
    """
    if phase.batch_tokens is None:
        return phase.batch_size or 1
    tokens = (bucket.width // multiple) * (bucket.height // multiple)
    return max(1, phase.batch_tokens // max(1, tokens))

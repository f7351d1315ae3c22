"""Which samples each batch of a run has: a function of set, edition, view, seed, epoch and number.

A `Cursor` says how far a run has come, in numbers that survive in JSON; it is all the state there
is, whatever the number of processes or workers, so a run goes on exactly where it was.

    plans = Plans(training_set, chosen, view, phase, settings, multiple=8)
    for plan in plans.batches(Cursor(), Share()):
        ...   # plan.tars, plan.rows; plan.after is where to go on from
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from nucleus_model.data.chosen import Chosen
from nucleus_model.data.draws import Numbers, key_of
from nucleus_model.data.exact import Epoch, exact_epoch
from nucleus_model.data.interleave import Interleaving
from nucleus_model.data.joint import JointOrder, joint_epoch
from nucleus_model.data.loader import Bucket, TrainingSet
from nucleus_model.data.streams import StreamOrder, row_order
from nucleus_model.data.view import View
from nucleus_model.settings.phases import Phase
from nucleus_model.settings.settings import QuickTrainSettings

Gather = Callable[[str], list[str]]


@dataclass(frozen=True, slots=True)
class Cursor:
    """The position of a batch in a run.

    Attributes:
        phase: Number of the phase, from 0.
        epoch: How many epochs were begun before this one, in all phases.
        batch: How many batches of this epoch come before this one.
    """

    phase: int = 0
    epoch: int = 0
    batch: int = 0


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of each batch a process takes.

    Attributes:
        rank: Its number among the processes, from 0.
        size: How many processes there are.
    """

    rank: int = 0
    size: int = 1


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """The samples that one step takes, of which this process has a part.

    Attributes:
        cursor: Where it is in the run.
        bucket: The aspect bucket of its samples.
        tars: The tar of each sample of this process's part, by number.
        rows: The row of each in its tar.
        slots: How many samples the batch has in all processes.
        turns: How often the epoch has had each before; None for never.
    """

    cursor: Cursor
    bucket: Bucket
    tars: Numbers
    rows: Numbers
    slots: int
    turns: Numbers | None = None

    @property
    def after(self) -> Cursor:
        """The position of the epoch's next batch, if it has one."""
        return Cursor(self.cursor.phase, self.cursor.epoch, self.cursor.batch + 1)


class Order(Protocol):
    """How the samples of an epoch are ordered."""

    @property
    def samples(self) -> int:
        """How many samples an epoch has; of a mixture that changes, the first epoch."""

    def batches(self, cursor: Cursor, share: Share) -> Iterator[BatchPlan]:
        """Plans an epoch's batches from the cursor's on."""


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
        self.samples = self._order.samples

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


class ExactBatches:
    """An order by a hash of every id (`exact`); each process has a stretch of each batch."""

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
        self.samples = len(self._times(0)[0])

    def _times(self, epoch: int) -> tuple[Numbers, Numbers | None]:
        """The samples of an epoch, by number and in order of id, and which copy each is."""
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
        """Plans an epoch's batches from the cursor's on."""
        numbers, copies, epoch = self._planned(cursor.epoch)
        for number in range(cursor.batch, len(epoch)):
            every = numbers[epoch.batch(number)]
            # As even as can be; some stretches of a small last batch may be empty.
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


class JointBatches:
    """The order of two sets that are compared (`joint`), as this one takes it."""

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
            raise ValueError("a joint order is of sets whose order is exact, with all aspects")
        self._set, self._joint, self._size, self._seed = training_set, joint, batch_size, seed
        ids = training_set.tables.whole()["id"][chosen.numbers]
        self._numbers = chosen.numbers[joint.has(ids)]
        self.samples = len(joint.ids) if len(self._numbers) else 0

    def batches(self, cursor: Cursor, share: Share) -> Iterator[BatchPlan]:
        """Plans an epoch's batches from the cursor's on."""
        tars, rows = self._set.place(self._numbers)
        sizes = np.array([bucket.size for bucket in self._set.buckets], np.int64)
        found = joint_epoch(
            self._joint,
            self._set.tables.whole()["id"][self._numbers],
            sizes[self._set.bucket_of[tars]],
            batch_size=self._size,
            seed=self._seed,
            epoch=cursor.epoch,
        )
        for number in range(cursor.batch, len(found)):
            every, turns = found.batch(number)
            low, high = (len(every) * rank // share.size for rank in (share.rank, share.rank + 1))
            mine = every[low:high]
            bucket = self._set.buckets[self._set.bucket_of[tars[every[0]]]]
            place = Cursor(cursor.phase, cursor.epoch, number)
            yield BatchPlan(place, bucket, tars[mine], rows[mine], len(every), turns[low:high])


class StreamBatches:
    """An order by streams over the tars (`streams`); process r of R has the slots r modulo R."""

    def __init__(
        self,
        training_set: TrainingSet,
        view: View,
        used: list[bool],
        batch_sizes: list[int],
        streams: int,
        share: Share,
        gather: Gather,
    ) -> None:
        self._set, self._view, self._sizes, self._streams = training_set, view, batch_sizes, streams
        self._used, self._share, self._gather = used, share, gather
        self._counted: tuple[int, Numbers] | None = None
        self._rows: OrderedDict[tuple[int, int], Numbers] = OrderedDict()
        self.samples = int(self._counts(0).sum())

    def _counts(self, epoch: int) -> Numbers:
        """How many samples an epoch has of each tar."""
        if self._counted is not None and (self._counted[0] == epoch or not self._view.changes):
            return self._counted[1]
        tables = self._set.tables
        every = np.diff(tables.first)
        used = np.asarray(self._used)[self._set.bucket_of]
        if self._view.whole:
            counts = every * used
        else:
            # Each process counts its part of the tars, and they tell each other.
            mine = [
                n for n in np.flatnonzero(used).tolist() if n % self._share.size == self._share.rank
            ]
            found = {}
            for start in range(0, len(mine), COUNTED_AT_ONCE):
                part = mine[start : start + COUNTED_AT_ONCE]
                tables.read_all(part)
                for tar in part:
                    found[tar] = int(self._view.copies(tables, tar, epoch).sum())
            text = ",".join(f"{tar}:{count}" for tar, count in found.items())
            counts = np.zeros(len(every), np.int64)
            for other in self._gather(text):
                for item in other.split(",") if other else []:
                    tar, _, count = item.partition(":")
                    counts[int(tar)] = int(count)
        self._counted = epoch, counts
        return counts

    def batches(self, cursor: Cursor, share: Share) -> Iterator[BatchPlan]:
        """Plans an epoch's batches from the cursor's on."""
        epoch, counts = cursor.epoch, self._counts(cursor.epoch)
        orders = [
            StreamOrder(
                counts[bucket.tars],
                batch_size=size,
                streams=self._streams,
                seed=self._view.seed,
                epoch=epoch,
                bucket=number,
            )
            for number, (bucket, size) in enumerate(
                zip(self._set.buckets, self._sizes, strict=True)
            )
        ]
        turns = Interleaving([len(order) for order in orders], self._view.seed, epoch)
        # One tar a stream is open, and the one that comes after it.
        most = 2 * sum(
            min(order.streams, len(bucket.tars))
            for order, bucket in zip(orders, self._set.buckets, strict=True)
        )
        for number, turn in enumerate(turns.turns(cursor.batch), start=cursor.batch):
            bucket = self._set.buckets[turn.bucket]
            places = orders[turn.bucket].batch(turn.batch)
            mine = slice(share.rank, None, share.size)
            tars = bucket.tars[places.tars[mine]]
            self._set.tables.read_all({t for t in tars.tolist() if (epoch, t) not in self._rows})
            rows = [
                self._order_of(tar, epoch, most)[place]
                for tar, place in zip(tars.tolist(), places.rows[mine].tolist(), strict=True)
            ]
            yield BatchPlan(
                Cursor(cursor.phase, epoch, number),
                bucket,
                tars,
                np.asarray(rows, np.int64),
                len(places.tars),
            )

    def _order_of(self, tar: int, epoch: int, most: int) -> Numbers:
        """A tar's rows in the epoch's order; those of open tars are kept."""
        found = self._rows.get((epoch, tar))
        if found is None:
            copies = self._view.copies(self._set.tables, tar, epoch)
            rows = np.repeat(np.arange(len(copies)), copies)
            order = row_order(rows, key_of(f"rows:{epoch}", self._view.seed, tar))
            small = np.uint16 if len(copies) <= 1 << 16 else np.uint32
            found = self._rows[epoch, tar] = order.astype(small)
            while len(self._rows) > most:
                self._rows.popitem(last=False)
        self._rows.move_to_end((epoch, tar))
        return found


COUNTED_AT_ONCE = 256

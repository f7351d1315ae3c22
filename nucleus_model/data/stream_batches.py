"""Plans the batches of a large set, by streams over its tars (`streams`, `interleave`)."""

from collections import OrderedDict
from collections.abc import Iterator

import numpy as np

from nucleus_model.data.batches import BatchPlan, Cursor, Gather, Share
from nucleus_model.data.draws import Numbers, key_of
from nucleus_model.data.interleave import Interleaving
from nucleus_model.data.loader import TrainingSet
from nucleus_model.data.streams import StreamOrder, row_order
from nucleus_model.data.view import View

COUNTED_AT_ONCE = 256


class StreamBatches:
    """The order by streams over the tars (`streams`); process r of R takes the slots r modulo R."""

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
        counts = self._counts(0)
        self.samples = int(counts.sum())
        self.rests = sum(
            int(counts[bucket.tars].sum() % size > 0)
            for bucket, size in zip(training_set.buckets, batch_sizes, strict=True)
        )

    def _counts(self, epoch: int) -> Numbers:
        """Returns the number of samples that an epoch takes from each tar."""
        if self._counted is not None and (self._counted[0] == epoch or not self._view.changes):
            return self._counted[1]
        tables = self._set.tables
        every = np.diff(tables.first)
        used = np.asarray(self._used)[self._set.bucket_of]
        if self._view.whole:
            counts = every * used
        else:
            # Each process counts some of the tars, and the counts are gathered.
            own = [
                n for n in np.flatnonzero(used).tolist() if n % self._share.size == self._share.rank
            ]
            own_counts: dict[int, int] = {}
            for start in range(0, len(own), COUNTED_AT_ONCE):
                part = own[start : start + COUNTED_AT_ONCE]
                begun = [
                    tables.reads.begin(
                        tables.path(tar),
                        lambda tar=tar: int(self._view.copies(tables, tar, epoch).sum()),  # type: ignore[misc]
                    )
                    for tar in part
                ]
                own_counts |= {tar: read.result() for tar, read in zip(part, begun, strict=True)}
            text = ",".join(f"{tar}:{count}" for tar, count in own_counts.items())
            counts = np.zeros(len(every), np.int64)
            for other in self._gather(text):
                for item in other.split(",") if other else []:
                    tar, _, count = item.partition(":")
                    counts[int(tar)] = int(count)
        self._counted = epoch, counts
        return counts

    def batches(self, cursor: Cursor, share: Share) -> Iterator[BatchPlan]:
        """Plans an epoch's batches, starting with the cursor's."""
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
        # Per stream, keep the order of the current tar and of the next one.
        most = 2 * sum(
            min(order.streams, len(bucket.tars))
            for order, bucket in zip(orders, self._set.buckets, strict=True)
        )
        for number, turn in enumerate(turns.turns(cursor.batch), start=cursor.batch):
            bucket = self._set.buckets[turn.bucket]
            places = orders[turn.bucket].batch(turn.batch)
            own = slice(share.rank, None, share.size)
            tars = bucket.tars[places.tars[own]]
            self._set.tables.read_all({t for t in tars.tolist() if (epoch, t) not in self._rows})
            pairs = [
                self._order_of(tar, epoch, most)[:, place]
                for tar, place in zip(tars.tolist(), places.rows[own].tolist(), strict=True)
            ]
            rows, copies = np.asarray(pairs, np.int64).reshape(-1, 2).T
            yield BatchPlan(
                Cursor(cursor.phase, epoch, number),
                bucket,
                tars,
                rows,
                len(places.tars),
                copies,
            )

    def _order_of(self, tar: int, epoch: int, most: int) -> Numbers:
        """Returns a tar's rows in the epoch's order, and which copy each one is; (2, N), cached."""
        cached = self._rows.get((epoch, tar))
        if cached is None:
            copies = self._view.copies(self._set.tables, tar, epoch)
            rows = np.repeat(np.arange(len(copies)), copies)
            order = row_order(rows, key_of(f"rows:{epoch}", self._view.seed, tar))
            turns = np.empty(len(order), np.int64)
            turns[np.argsort(order, kind="stable")] = np.arange(len(rows)) - np.repeat(
                np.cumsum(copies) - copies, copies
            )
            small = np.uint16 if len(copies) <= 1 << 16 else np.uint32
            cached = self._rows[epoch, tar] = np.stack([order, turns]).astype(small)
            while len(self._rows) > most:
                self._rows.popitem(last=False)
        self._rows.move_to_end((epoch, tar))
        return cached

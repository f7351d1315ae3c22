"""The order for sets too large to hash every id: logical streams over the tars.

A bucket's tars are shuffled and concatenated. That sequence of samples is cut into S streams of
equal length (up to one sample), and a batch takes one sample from each of B streams. Slot i of a
batch takes it from a stream whose number is i modulo B, a different, randomly drawn one in each
turn. So process r of R, which has the slots r modulo R, has streams of its own, and reads only
their tars.

    order = StreamOrder(samples_of_each_tar, batch_size=32, streams=256, seed=0, epoch=3, bucket=0)
    places = order.batch(117)      # where batch 117's samples are: tar, and place in the tar's
    order

There is no state from batch to batch: each place is computed from the tars' counts, so a run can
resume anywhere, with any number of processes. In memory are the counts and, for the open tars (one
per stream), the order of their rows (`row_order`).

Within a tar, the order goes by blocks of adjacent rows, which are fetched with one read; the rows
of a tar are already in hashed order.
"""

from dataclasses import dataclass

import numpy as np

from nucleus_model.data.draws import Numbers, drawn, key_of, shuffled

# Sampling B of S streams without replacement multiplies the variance of a batch's mean by 1 - B /
# S: with S = 16 B, it is smaller by 6 %.
STREAMS_A_SLOT = 16
BLOCK_ROWS = 32


@dataclass(frozen=True, slots=True)
class Places:
    """The places of samples.

    Attributes:
        tars: Number of each sample's tar in the bucket.
        rows: Each sample's place in the order of its tar.
    """

    tars: Numbers
    rows: Numbers


class StreamOrder:
    """An epoch of one bucket: every sample once, in batches of which the last may be smaller.

    Args:
        counts: Number of samples of each tar of the bucket.
        batch_size: Samples per batch.
        streams: Minimum number of streams.
        seed: The run's seed.
        epoch: The epoch.
        bucket: The bucket's number.
    """

    def __init__(
        self,
        counts: Numbers,
        *,
        batch_size: int,
        streams: int,
        seed: int,
        epoch: int,
        bucket: int,
    ) -> None:
        self.batch_size = batch_size
        self.samples = int(counts.sum())
        self.turns = max(STREAMS_A_SLOT, -(-streams // batch_size))
        self.streams = self.turns * batch_size
        self._rounds, self._over = divmod(self.samples, self.streams)
        self._tars = shuffled(key_of(f"tars:{epoch}", seed, bucket), len(counts))
        self._ends = np.cumsum(counts[self._tars])
        self._key = key_of(f"slots:{epoch}", seed, bucket)
        self._round: tuple[int, Numbers] = -1, np.empty((0, 0), np.int64)

    def __len__(self) -> int:
        """Returns the number of batches of the epoch."""
        return self._rounds * self.turns + -(-self._over // self.batch_size)

    def batch(self, number: int) -> Places:
        """Returns the places of one batch's samples, by slot."""
        round_number, turn = divmod(number, self.turns)
        slots = np.arange(self.batch_size)
        if round_number == self._rounds:
            # Only the streams with one more sample are left; taken in order, so that only the last
            # batch is smaller.
            streams = turn * self.batch_size + slots
            streams = streams[streams < self._over]
        else:
            streams = slots + self.batch_size * self._turns_of(round_number)[:, turn]
        length = self.samples // self.streams
        positions = streams * length + np.minimum(streams, self._over) + round_number
        tars = np.searchsorted(self._ends, positions, side="right")
        starts = np.where(tars > 0, self._ends[tars - 1], 0)
        return Places(self._tars[tars], positions - starts)

    def _turns_of(self, round_number: int) -> Numbers:
        """Returns the order in which each slot takes its streams in a round: (slots, turns)."""
        if self._round[0] != round_number:
            counters = np.arange(self.streams) + round_number * self.streams
            keys = drawn(self._key, counters).reshape(self.batch_size, self.turns)
            self._round = round_number, np.argsort(keys, axis=1, kind="stable")
        return self._round[1]


def row_order(rows: Numbers, key: int, block: int = BLOCK_ROWS) -> Numbers:
    """Returns a tar's rows in an epoch's order: shuffled blocks, each shuffled within.

    Args:
        rows: The rows, ascending; may contain duplicates.
        key: Key of the random draws, for the epoch and the tar.
        block: Rows per block.
    """
    blocks, draws = drawn(key, rows // block), drawn(key ^ 1, np.arange(len(rows)))
    # Sorts by block, then by row: `lexsort` takes the last key first.
    return np.asarray(rows[np.lexsort((draws, blocks))])

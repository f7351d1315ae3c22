"""The order of a set that is too large for a keyed hash of every id: logical streams over its tars.

A bucket's tars, permuted, stand one behind the other; that row of samples is cut into S streams of
equal length (up to one sample), and a batch has a sample of each of B of them. Slot i of a batch
takes its sample from a stream whose number is i modulo B, another one at each turn, drawn; so
process r of R, which has the slots r modulo R, has its own streams and reads their tars alone.

    order = StreamOrder(samples_of_each_tar, batch_size=32, streams=256, seed=0, epoch=3, bucket=0)
    places = order.batch(117)      # where batch 117's samples lie: tar and place in the tar's order

Nothing is remembered from batch to batch: each place is arithmetic on the tars' counts, so a run
goes on anywhere, with any number of processes. In memory are the counts and, of the tars that are
open, one a stream, the order of their rows (`row_order`).

Within a tar the order goes by blocks of neighbouring rows, which one read fetches from a store; the
tar's own order is by hash already.
"""

from dataclasses import dataclass

import numpy as np

from nucleus_model.data.draws import Numbers, drawn, key_of, shuffled

# A batch takes its B samples from S streams without putting any back, which makes the variance of
# its mean smaller by 1 - B / S: at 16 by 6 %.
STREAMS_A_SLOT = 16
BLOCK_ROWS = 32


@dataclass(frozen=True, slots=True)
class Places:
    """Where samples lie.

    Attributes:
        tars: The tar of each, by its number in the bucket.
        rows: The place of each in the tar's order.
    """

    tars: Numbers
    rows: Numbers


class StreamOrder:
    """An epoch of one bucket: every sample once, in batches of which the last may be smaller.

    Args:
        counts: How many samples each tar of the bucket has.
        batch_size: Samples a batch.
        streams: The least number of streams.
        seed: Of the run.
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
        """Batches of the epoch."""
        return self._rounds * self.turns + -(-self._over // self.batch_size)

    def batch(self, number: int) -> Places:
        """Returns the places of one batch's samples, by slot."""
        round_number, turn = divmod(number, self.turns)
        slots = np.arange(self.batch_size)
        if round_number == self._rounds:
            # The streams of one more sample: in their order, so that one batch alone has fewer.
            streams = turn * self.batch_size + slots
            streams = streams[streams < self._over]
        else:
            streams = slots + self.batch_size * self._turns_of(round_number)[:, turn]
        length = self.samples // self.streams
        positions = streams * length + np.minimum(streams, self._over) + round_number
        found = np.searchsorted(self._ends, positions, side="right")
        starts = np.where(found > 0, self._ends[found - 1], 0)
        return Places(self._tars[found], positions - starts)

    def _turns_of(self, round_number: int) -> Numbers:
        """In which order each slot takes its streams in a round: (batch size, turns)."""
        if self._round[0] != round_number:
            counters = np.arange(self.streams) + round_number * self.streams
            keys = drawn(self._key, counters).reshape(self.batch_size, self.turns)
            self._round = round_number, np.argsort(keys, axis=1, kind="stable")
        return self._round[1]


def row_order(rows: Numbers, key: int, block: int = BLOCK_ROWS) -> Numbers:
    """Returns a tar's rows in an epoch's order: blocks of neighbours, each mixed in itself.

    Args:
        rows: The rows, ascending; one that is there twice is taken twice.
        key: Of the epoch and the tar.
        block: Rows of a block.
    """
    blocks, draws = drawn(key, rows // block), drawn(key ^ 1, np.arange(len(rows)))
    # Of one block, the rows by their own draw: `lexsort` takes the last key first.
    return np.asarray(rows[np.lexsort((draws, blocks))])

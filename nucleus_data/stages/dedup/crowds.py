"""Crowds: very many near but unequal copies of one picture, without all of their pairs.

K pictures that are all near each other, such as a placeholder with a different number in each, have
K^2 / 2 pairs: 5 billion for 100,000. So a picture that is near more than `CROWD` others is
*crowded*, and pairs of two crowded pictures are not stored. Instead, each of them is listed once,
with its hashes, beside the first record of its crowd. That connects them, as the pairs would; and
`crowd_walk` compares the hashes themselves with those of the pictures that are kept. There are few
of these, because they are not near each other. The result is that of all pairs.

    pairs, listed = thinned(found, leaders, settings)

Near pairs are counted by block (see `search`), in each of which a task has all pairs of a picture.
So what is stored does not depend on how the search is partitioned.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from nucleus_data.errors import RequestError
from nucleus_data.stages.dedup.rows import LISTED, NEAR, Rows, corpus_of
from nucleus_data.stages.dedup.settings import DedupSettings
from nucleus_data.stages.dedup.walk import components

CROWD = 100  # pairs of a picture in one block, from more of which on it is crowded
AT_ONCE = 1 << 22  # pairs that are collected before those of crowded pictures are dropped

# Pairs that a process holds, for each of `partition_records`: by default 32 million. But no fewer
# than a million, which fit anywhere.
PAIRS_A_RECORD = 16
FEWEST_PAIRS = 1 << 20
PAIR_BYTES = 225  # of memory at the peak, measured at 18 million pairs


def thinned(
    found: Iterable[Rows], leaders: Rows, settings: DedupSettings, held: int = 0
) -> tuple[Rows, Rows]:
    """Collects the near pairs of a block, without those of two crowded pictures.

    Memory grows with the pictures, and with the pairs of those that are not crowded.

    Args:
        found: `NEAR` rows, indices into `leaders`; the first picture is of the own corpus.
        leaders: `PICTURE` rows, ordered by place.
        settings: For the limit on pairs.
        held: Number of pairs of other blocks that this process holds.

    Returns:
        `NEAR` rows, and `LISTED` rows of the crowded pictures.

    Raises:
        RequestError: There are still more pairs than a process can hold.
    """
    thinning = _Thinning(leaders, settings, held)
    for pairs in found:
        thinning.add(pairs)
    return thinning.pairs(), thinning.listed()


class _Thinning:
    """Pairs so far, and which pictures are crowded; the arguments are those of `thinned`."""

    def __init__(self, leaders: Rows, settings: DedupSettings, held: int) -> None:
        self.leaders, self.settings = leaders, settings
        self.limit = max(FEWEST_PAIRS, PAIRS_A_RECORD * settings.partition_records)
        self.room = self.limit - held
        self.degrees = np.zeros(len(leaders), np.int64)
        self.foreign = corpus_of(leaders["place"]) > 0
        self.kept: list[Rows] = [np.empty(0, NEAR)]
        self.size, self.next = 0, min(AT_ONCE, self.room + 1)
        # Of each crowded picture, a pair with the first one of another corpus; see `_drop`.
        self.abroad = np.empty(0, NEAR)
        self.crowded = np.zeros(len(leaders), bool)
        self.first = np.arange(len(leaders))  # of each picture's crowd

    def add(self, pairs: Rows) -> None:
        """Adds pairs, and drops those of two crowded pictures, at once or now and then."""
        hot = self._of_crowded(pairs)
        self._drop(pairs[hot])
        pairs = pairs[~hot]
        for end in ("one", "other"):
            np.add.at(self.degrees, pairs[end], 1)
        self.kept.append(pairs)
        self.size += len(pairs)
        if self.size >= self.next:
            self._prune()
            if self.size > self.room:
                raise RequestError(self._too_many())
            # What was not dropped now may be later.
            self.next = min(self.size + AT_ONCE, self.room + 1)

    def pairs(self) -> Rows:
        """Returns the pairs that are stored."""
        self._prune()
        return np.concatenate([*self.kept, self.abroad])

    def listed(self) -> Rows:
        """Returns the members of all crowds, once `pairs` was called."""
        members = np.flatnonzero(self.crowded)
        rows, first = np.empty(len(members), LISTED), self.leaders[self.first[members]]
        for name in ("place", "id"):
            rows[name] = first[name]
        rows["other"], rows["other_id"] = (self.leaders[n][members] for n in ("place", "id"))
        for name in ("phash", "hash256", "width", "height"):
            rows[name] = self.leaders[name][members]
        return rows

    def _prune(self) -> None:
        pairs = np.concatenate(self.kept)
        dropped = self._of_crowded(pairs)
        self._drop(pairs[dropped])
        self.kept = [pairs[~dropped]]
        self.size = len(self.kept[0])

    def _of_crowded(self, pairs: Rows) -> NDArray[np.bool_]:
        """Returns for each pair whether both pictures are crowded by the pairs so far."""
        crowded: NDArray[np.bool_] = (self.degrees[pairs["one"]] > CROWD) & (
            self.degrees[pairs["other"]] > CROWD
        )
        return crowded

    def _drop(self, pairs: Rows) -> None:
        if not len(pairs):
            return
        for end in ("one", "other"):
            self.crowded[pairs[end]] = True
        one, other = self.first[pairs["one"]], self.first[pairs["other"]]
        apart = one != other
        if apart.any():
            before = np.flatnonzero(self.crowded)
            self.first = components(
                len(self.leaders),
                np.concatenate([before, one[apart]]),
                np.concatenate([self.first[before], other[apart]]),
            )
        # One pair with a picture of another corpus is kept, as it tells that there is one.
        away = np.concatenate([self.abroad, pairs[self.foreign[pairs["other"]]]])
        away = away[np.lexsort((away["other"], away["one"]))]
        self.abroad = away[np.unique(away["one"], return_index=True)[1]]

    def _too_many(self) -> str:
        """Returns what to do about too many pairs, with a picture that has many of them."""
        ident = self.leaders["id"][np.argmax(self.degrees)].tobytes().hex()
        return (
            f"dedup: one process found more than {self.limit:,} pairs of near duplicates; the "
            f"picture with the most is that of record {ident}. Lower dedup.distance or "
            "dedup.hash256_distance, so that fewer pictures count as copies. Or raise "
            f"dedup.partition_records, which is {self.settings.partition_records:,}, if there is "
            f"memory: a process holds {PAIRS_A_RECORD} times as many pairs, {PAIR_BYTES} bytes each"
        )

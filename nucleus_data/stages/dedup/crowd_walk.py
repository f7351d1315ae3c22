"""The part of the walk over duplicates that compares the members of crowds (see `crowds`)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nucleus_data.stages.dedup.codes import Codes, Indices, popcount
from nucleus_data.stages.dedup.confirm import aspect_difference, hash256_distance
from nucleus_data.stages.dedup.settings import DedupSettings


class Crowded(NamedTuple):
    """Pictures in crowds, as nodes of a walk.

    Attributes:
        node: The number of each picture's node, each once, int64[N].
        crowd: The number of its crowd, int64[N].
        phash: uint64[N].
        hash256: uint64[N, 4].
        size: Width and height, int64[N, 2].
    """

    node: Indices
    crowd: Indices
    phash: Codes
    hash256: Codes
    size: NDArray[np.int64]

    def at(self, chosen: NDArray[np.bool_] | Indices) -> "Crowded":
        """Returns some of the pictures."""
        return Crowded(
            self.node[chosen],
            self.crowd[chosen],
            self.phash[chosen],
            self.hash256[chosen],
            self.size[chosen],
        )

    def near(self, one: int, others: Indices, settings: DedupSettings) -> NDArray[np.bool_]:
        """Returns which of some pictures are near duplicates of one, bool[M].

        Args:
            one: Index of the picture.
            others: Indices of the others, int64[M].
            settings: What counts as near.
        """
        close = popcount(self.phash[others] ^ self.phash[one]) <= settings.distance
        rest = others[close]
        aspect = aspect_difference(self.size[rest], self.size[[one]])
        apart = hash256_distance(self.hash256[rest], self.hash256[[one]])
        near = np.zeros(len(others), bool)
        near[close] = (aspect <= settings.aspect_tolerance) & (apart <= settings.hash256_distance)
        return near


class CrowdWalk:
    """Finds which pictures of crowds are dropped for those that a walk keeps.

    Args:
        crowded: The pictures.
        settings: What counts as near.
    """

    def __init__(self, crowded: Crowded, settings: DedupSettings) -> None:
        self.crowded, self.settings = crowded, settings
        order = np.argsort(crowded.crowd, kind="stable")
        numbers, starts = np.unique(crowded.crowd[order], return_index=True)
        # Of each crowd, the pictures that are near none that was kept.
        self.left = dict(zip(numbers.tolist(), np.split(order, starts)[1:], strict=True))
        self.index = dict(zip(crowded.node.tolist(), range(len(crowded.node)), strict=True))

    def near(self, node: int) -> Indices:
        """Returns the nodes that are near one that is kept, and near none that was kept before."""
        at = self.index.get(node)
        if at is None:
            return np.empty(0, np.int64)
        crowd = int(self.crowded.crowd[at])
        left = self.left[crowd]
        near = self.crowded.near(at, left, self.settings)
        self.left[crowd] = left[~near]
        found: Indices = self.crowded.node[left[near]]
        return found[found != node]

"""Evidence of truth tests from many captions together, where a single one proves nothing.

Where many pictures rightly have the same answer (a label, "no"), a near tie changes one into
another picture's, just like a swap does. Swaps then show in the numbers only: captions agree with
the answers alone as often as by chance, or with the answers for the picture before.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def shortfall(crowd: Sequence[str], alone: Sequence[str]) -> float:
    """Compares captions with those of an engine whose batches spoil half of the texts.

    A caption's rank is the share of other pictures whose answers alone are less similar to it than
    the answer for its own picture; ties count half. By chance, it is 1/2 on average, for any texts.
    Only the order matters, so long texts that all differ a little from the answers alone have the
    best rank, too. The reference is an engine whose captions are, at random, either the answer
    alone or that of any other picture: few right engines are that bad.

    Args:
        crowd: The captions.
        alone: The answers alone for the same pictures.

    Returns:
        The standard deviations by which the sum of ranks is below that of the reference.
    """
    count = len(alone)
    if count < 2:
        return 0.0
    got = _ranks(crowd, alone).diagonal()
    ranks = _ranks(alone, alone)
    own = ranks.diagonal()
    other, other_square = (
        (powers.sum(axis=0) - powers.diagonal()) / (count - 1) for powers in (ranks, ranks**2)
    )
    mean = (own + other) / 2
    variance = (own**2 + other_square) / 2 - mean**2
    # If nearly all answers are equal, a single near tie would be many deviations.
    spread = max(float(np.sqrt(variance.sum())), 0.5)
    return float(mean.sum() - got.sum()) / spread


def at_least(chances: Sequence[float], count: int) -> float:
    """Returns the Poisson binomial probability that at least `count` events happen."""
    distribution: NDArray[np.floating] = np.ones(1)
    for chance in chances:
        distribution = np.convolve(distribution, (1 - chance, chance))
    return float(distribution[count:].sum())


def pieces(text: str) -> set[str]:
    """Returns a text's character trigrams, which work for any language, with or without spaces."""
    text = f" {text.casefold()} "
    return {text[i : i + 3] for i in range(len(text) - 2)}


def likeness(first: set[str], second: set[str]) -> float:
    """Returns the Jaccard similarity of two sets."""
    return len(first & second) / max(len(first | second), 1)


def _ranks(texts: Sequence[str], alone: Sequence[str]) -> NDArray[np.float64]:
    """Returns the rank of each text (row) as a caption of each picture (column)."""
    known = [pieces(text) for text in alone]
    like = np.array([[likeness(found, own) for own in known] for found in map(pieces, texts)])
    own, other = like[:, :, None], like[:, None, :]
    beaten = (own > other).sum(axis=2) + (own == other).sum(axis=2) / 2
    return (beaten - 0.5) / (len(alone) - 1)  # without the tie with itself

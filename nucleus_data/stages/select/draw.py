"""The draw of curriculum buckets B1 to B8, as pure functions on arrays.

Each record has a place z = w * q + (1 - w) * s, where q is its quality tier, scaled to 0..1, s is
the rank of its size, 0..1, and w is 0.6 by default. Its bucket is drawn from
p(k) = softmax(l_k / T), with l_k = -(z - mu_k)^2 / (2 * variance) and centres mu_k that are evenly
spaced from -1.75 to 1.75.

The formula is from the technical report of Nucleus-Image (arXiv 2604.12163), which we know at
second hand. As published, z stays in 0..1 while the centres begin at -1.75, so that the worst
records land in B4 and B5, and B1 stays almost empty. Here, z is standardised first (mean 0,
deviation 1 over the corpus), by constants that are fitted once (`fit`), so that a record's draw
does not depend on other records.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

BUCKETS = 8  # how many buckets are drawn
PREMIUM, AGAIN = 9, 10  # buckets of the premium tail
NAMES = tuple(f"B{number}" for number in range(1, AGAIN + 1))
# Steps from one power of two to the next; sizes in one step, which differ by less than 1.6 %, are
# treated as equal.
STEPS = 64

Numbers = NDArray[np.float64]


def stepped(sizes: Numbers) -> Numbers:
    """Rounds sizes down to 1/64 of their power of two, so that few different ones are left."""
    mantissa, exponent = np.frexp(sizes)  # mantissas are in [0.5, 1)
    return np.ldexp(np.floor(mantissa * 2 * STEPS) / (2 * STEPS), exponent)


def size_ranks(sizes: Numbers, known: Sequence[float], ranks: Sequence[float]) -> Numbers:
    """Returns the rank, 0 to 1, of each size, by linear interpolation between known sizes.

    Args:
        sizes: Sizes, shape [N].
        known: Known sizes, rounded by `stepped`, ascending.
        ranks: The rank of each known size: the share of the fitted records that are smaller, plus
            half of the share of those that are equal.

    Returns:
        float64[N]; a size beyond the known ones has the rank of the nearest.
    """
    return np.interp(stepped(sizes), known, ranks)


def places(tiers: NDArray[Any], ranks: Numbers, count: int, quality_weight: float) -> Numbers:
    """Computes the places z of records, from 0 for the worst to 1, not standardised.

    Args:
        tiers: Numbers of their tiers, from 1, shape [N].
        ranks: Ranks of their sizes, 0 to 1, shape [N].
        count: Number of tiers.
        quality_weight: The weight w of the tier.
    """
    quality = (tiers - 1) / max(1, count - 1)
    return np.asarray(quality_weight * quality + (1 - quality_weight) * ranks)


def probabilities(z: Numbers, *, reach: float, variance: float, temperature: float) -> Numbers:
    """Computes the probabilities of the buckets B1 to B8 for each record, float64[N, 8].

    Args:
        z: Standardised places, shape [N].
        reach: Centres are spaced evenly from minus this to this.
        variance: Square of a bucket's width.
        temperature: The temperature T of the softmax.
    """
    centres = np.linspace(-reach, reach, BUCKETS)
    logits = -((z[:, None] - centres) ** 2) / (2 * variance * temperature)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def drawn(chances: Numbers, units: Numbers) -> NDArray[np.int8]:
    """Draws a bucket for each record.

    Args:
        chances: Probabilities from `probabilities`, float64[N, 8].
        units: Uniform numbers in [0, 1), shape [N].

    Returns:
        Numbers of buckets from 1, int8[N].
    """
    # Without the last cumulative sum: if rounding left it below 1, a ninth bucket could be drawn.
    return (1 + (units[:, None] >= np.cumsum(chances, axis=1)[:, :-1]).sum(axis=1)).astype(np.int8)

"""The draw of curriculum buckets B1 to B8: numbers in, numbers out.

Each record has a place z = w * q + (1 - w) * s on one line: q is its quality tier, scaled to 0..1,
s the rank of its size, 0..1, and w 0.6. A bucket is drawn by p(k) = softmax(l_k / T) with
l_k = -(z - mu_k)^2 / (2 * variance) and centres mu_k that lie evenly from -1.75 to 1.75.

The formula is that of the technical report of Nucleus-Image (arXiv 2604.12163), known here at
second hand. As published, z stays in 0..1 while the centres begin at -1.75, so that the worst
records land in B4 and B5 and B1 stays almost empty. Here z is standardised first (mean 0, deviation
1 over the corpus), by constants that were fitted once (`fit`): no other record moves a draw.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

BUCKETS = 8  # that are drawn
PREMIUM, AGAIN = 9, 10  # those of the premium tail
NAMES = tuple(f"B{number}" for number in range(1, AGAIN + 1))
# A power of two is cut into so many steps: sizes that differ by less than 1.6 % are equal.
STEPS = 64

Numbers = NDArray[np.float64]


def stepped(sizes: Numbers) -> Numbers:
    """Sizes rounded down to 1/64 of their power of two, so that few different ones are left."""
    mantissa, exponent = np.frexp(sizes)  # mantissas are 0.5 up to 1
    return np.ldexp(np.floor(mantissa * 2 * STEPS) / (2 * STEPS), exponent)


def size_ranks(sizes: Numbers, known: Sequence[float], ranks: Sequence[float]) -> Numbers:
    """The rank, 0 to 1, of each size; between and beyond known ones by straight lines.

    Args:
        sizes: (N,).
        known: Sizes as `stepped` has them, rising.
        ranks: Which share of the fitted records is smaller, half of the equal ones among them.
    """
    return np.interp(stepped(sizes), known, ranks)


def places(tiers: NDArray[Any], ranks: Numbers, count: int, quality_weight: float) -> Numbers:
    """Where records stand, z, from 0 for the worst to 1; not standardised.

    Args:
        tiers: Numbers of tiers, from 1.
        ranks: Of sizes, 0 to 1.
        count: How many tiers there are.
        quality_weight: w.
    """
    quality = (tiers - 1) / max(1, count - 1)
    return np.asarray(quality_weight * quality + (1 - quality_weight) * ranks)


def probabilities(z: Numbers, *, reach: float, variance: float, temperature: float) -> Numbers:
    """p(B = k) of B1 to B8, (N, 8).

    Args:
        z: Standardised places, (N,).
        reach: The outermost centres.
        variance: Square of a bucket's width.
        temperature: T.
    """
    centres = np.linspace(-reach, reach, BUCKETS)
    logits = -((z[:, None] - centres) ** 2) / (2 * variance * temperature)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def drawn(chances: Numbers, units: Numbers) -> NDArray[np.int8]:
    """A bucket for each record, from 1.

    Args:
        chances: From `probabilities`, (N, 8).
        units: Uniform numbers in [0, 1), (N,).
    """
    # The last sum is 1 but for its last bits, which must not make a ninth bucket.
    return (1 + (units[:, None] >= np.cumsum(chances, axis=1)[:, :-1]).sum(axis=1)).astype(np.int8)

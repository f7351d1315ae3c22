"""The order inside a bucket: fair in every stretch, and computed from counts.

A bucket's records are of strata (source, tier, curriculum bucket, whether it came with a caption).
Record r of the n of a stratum, in a keyed order, stands at (r + u) / n of the bucket, u in [0, 1)
keyed by the stratum: so the first part of the bucket has that part of each stratum, to within one
record, and the first n tars are a fair smaller set. Where a record stands among all follows from
the strata's counts alone, so no bucket is ever sorted as a whole.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
BITS = 32  # of the place in the bucket; a stratum of a bucket has at most 2^31 records


def offset_of(seed: int, bucket: str, stratum: str) -> int:
    """U of a stratum, in units of 2^-32."""
    text = f"stratum:{seed}:{bucket}:{stratum}"
    digest = hashlib.md5(text.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[: BITS // 8], "big")


def indexes(stratum: Ints, rank: Ints, counts: Ints, offsets: Ints) -> Ints:
    """Where records of a bucket stand in it, from 0: together, each place once.

    Args:
        stratum: Of N records, numbers from 0.
        rank: The place of each among its stratum, from 0.
        counts: How many records each of the S strata has in the bucket.
        offsets: u of each stratum (`offset_of`).
    """
    own = counts[stratum]
    place = ((rank << BITS) + offsets[stratum]) // own
    found = rank.copy()
    for other in range(len(counts)):
        # How many of the other stratum stand before: of equal places, the first stratum's do.
        upto = place + (other < stratum)
        before = -((offsets[other] - upto * counts[other]) >> BITS)
        found += np.where(other == stratum, 0, np.clip(before, 0, counts[other]))
    return found

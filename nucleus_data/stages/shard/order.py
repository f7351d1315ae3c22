"""The order of records within a bucket: stratified, and computed from counts alone.

Records belong to strata (by source, tier, curriculum bucket, and whether they came with a caption).
Record r of the n records of a stratum, in keyed order, has the relative position (r + u) / n in the
bucket, where u in [0, 1) is keyed by the stratum. So any first part of the bucket has a
proportional share of each stratum, to within one record, and the first n tars are a representative
subset. The absolute position of a record follows from the strata's counts, so no bucket is ever
sorted as a whole.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
BITS = 32  # fractional bits of a relative position; a stratum has at most 2^31 records


def offset_of(seed: int, bucket: str, stratum: str) -> int:
    """Returns the offset u of a stratum, in units of 2^-32."""
    text = f"stratum:{seed}:{bucket}:{stratum}"
    digest = hashlib.md5(text.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[: BITS // 8], "big")


def indexes(stratum: Ints, rank: Ints, counts: Ints, offsets: Ints) -> Ints:
    """Computes the positions of records in their bucket, from 0; over all records, a permutation.

    Args:
        stratum: Number of each record's stratum, from 0, int64[N].
        rank: Rank of each record within its stratum, from 0, int64[N].
        counts: Number of records of each stratum in the bucket, int64[S].
        offsets: The offset u of each stratum, from `offset_of`, int64[S].

    Returns:
        int64[N].
    """
    own = counts[stratum]
    place = ((rank << BITS) + offsets[stratum]) // own
    position = rank.copy()
    for other in range(len(counts)):
        # Count the other stratum's records before this place; ties go to the lower stratum.
        upto = place + (other < stratum)
        before = -((offsets[other] - upto * counts[other]) >> BITS)
        position += np.where(other == stratum, 0, np.clip(before, 0, counts[other]))
    return position

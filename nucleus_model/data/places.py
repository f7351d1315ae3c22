"""Where each picture lies in its tar, and what is cut from it: rows of fixed size, no decoding."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nucleus_model.data.draws import as_bytes

# Where a sample's picture lies in its tar, and what is cut from it: 48 bytes a sample.
PLACE = np.dtype(
    {
        "names": ["id", "offset", "crop", "size", "cut"],
        "formats": [("u1", 16), "<i8", ("<i4", 4), "<u4", "<u4"],
        "offsets": [0, 16, 24, 40, 44],
        "itemsize": 48,
    }
)


def places_of(index: pa.Table, width: int, height: int) -> NDArray[Any]:
    """The `PLACE` of each row of a tar's index.

    Args:
        index: `sets.index.INDEX_SCHEMA`.
        width: Of the aspect bucket, in pixels.
        height: Of the aspect bucket, in pixels.
    """
    found = np.zeros(len(index), PLACE)
    found["id"] = as_bytes(index.column("id").to_pylist())
    found["offset"] = index.column("offset").to_numpy()
    found["size"] = index.column("size").to_numpy()
    crops = index.column("crop").combine_chunks()
    found["crop"] = np.asarray(crops.flatten()).reshape(-1, 4)
    # A picture of another size than the bucket's is an original: its crop is still to be cut.
    stored = index.column("width").to_numpy() == width
    found["cut"] = ~(stored & (index.column("height").to_numpy() == height))
    return found

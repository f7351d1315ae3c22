"""The position of each picture in its tar, and its crop, as records of a fixed size."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nucleus_model.data.draws import as_bytes

# A record of 48 bytes per sample: id, byte range in the tar, crop (left, top, right, bottom in
# pixels of the upright original), and whether the crop must still be applied.
PLACE = np.dtype(
    {
        "names": ["id", "offset", "crop", "size", "cut"],
        "formats": [("u1", 16), "<i8", ("<i4", 4), "<u4", "<u4"],
        "offsets": [0, 16, 24, 40, 44],
        "itemsize": 48,
    }
)


def places_of(index: pa.Table, width: int, height: int) -> NDArray[Any]:
    """Converts a tar's index to records, (N,) of dtype `PLACE`.

    Args:
        index: The index, in the schema `sets.index.INDEX_SCHEMA`.
        width: Width of the aspect bucket, in pixels.
        height: Height of the aspect bucket, in pixels.
    """
    places = np.zeros(len(index), PLACE)
    places["id"] = as_bytes(index.column("id").to_pylist())
    places["offset"] = index.column("offset").to_numpy()
    places["size"] = index.column("size").to_numpy()
    crops = index.column("crop").combine_chunks()
    places["crop"] = np.asarray(crops.flatten()).reshape(-1, 4)
    # A picture with another size than the bucket's is an original, which must still be cropped.
    stored = index.column("width").to_numpy() == width
    places["cut"] = ~(stored & (index.column("height").to_numpy() == height))
    return places

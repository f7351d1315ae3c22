"""The index of a tar: one row per sample in the tar's order, so that samples are found without it.

A stored picture of the bucket's size is ready for training. One of another size is an unchanged
original: the reader cuts `crop` from it and resizes that to the bucket's size.
"""

import pyarrow as pa

INDEX = ".index.parquet"
INDEX_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string()),
        # Offset and size in bytes of the picture in the tar, then of the `.json`.
        pa.field("offset", pa.int64()),
        pa.field("size", pa.int64()),
        pa.field("json_offset", pa.int64()),
        pa.field("json_size", pa.int64()),
        # Size of the stored picture, in pixels.
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        # Left, top, right, bottom, in pixels of the upright original.
        pa.field("crop", pa.list_(pa.int32(), 4)),
        # The record's key in the corpus's tables.
        pa.field("shard", pa.int32()),
        pa.field("row", pa.int32()),
        # SHA-256 of the stored picture.
        pa.field("sha256", pa.string()),
    ]
)


def index_name(tar: str) -> str:
    """Returns the path of a tar's index; `tar` is the tar's path."""
    return tar.removesuffix(".tar") + INDEX

"""The index of a tar: one row a sample, in the tar's order, so that nobody reads a tar to find one.

A stored picture whose size is the bucket's is what is trained on. One of another size is an
original that was kept as it was: `crop` is still to be cut from it, and scaled.
"""

import pyarrow as pa

INDEX = ".index.parquet"
INDEX_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string()),
        # First byte and size of the picture in the tar, then of the `.json`.
        pa.field("offset", pa.int64()),
        pa.field("size", pa.int64()),
        pa.field("json_offset", pa.int64()),
        pa.field("json_size", pa.int64()),
        # Of the stored picture, in pixels.
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        # Left, top, right, bottom, in upright pixels of the original.
        pa.field("crop", pa.list_(pa.int32(), 4)),
        # Which record it is, in the corpus's tables.
        pa.field("shard", pa.int32()),
        pa.field("row", pa.int32()),
        # Of the stored picture.
        pa.field("sha256", pa.string()),
    ]
)


def index_name(tar: str) -> str:
    """Path of a tar's index; `tar` is the tar's path."""
    return tar.removesuffix(".tar") + INDEX

"""The plan of a set while it is being made: for each output tar, a Parquet file of its records."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.corpus.parts import encode_part, own_footer

PLANS, NOTES = "_plan", "_done"
PLAN_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("shard", pa.int32()),
        pa.field("row", pa.int32()),
        pa.field("offset", pa.int64()),
        pa.field("size", pa.int64()),
        pa.field("sha256", pa.string()),
        pa.field("source", pa.string()),
        pa.field("key", pa.string()),
        pa.field("url", pa.string()),
        pa.field("licence", pa.string()),
        pa.field("original_width", pa.int32()),
        pa.field("original_height", pa.int32()),
        # Whether any reader displays the original correctly; NULL if unknown.
        pa.field("plain", pa.bool_()),
        pa.field("crop", pa.list_(pa.int32(), 4)),
    ]
)


@dataclass(frozen=True)
class PlannedTar:
    """One output tar: its number, its path below the set, its bucket, and its records.

    Attributes:
        number: Its number among all tars of the set, from 0.
        path: `<resolution>/<aspect>/<number in the bucket>.tar`.
        resolution: Side of the square bucket, in pixels.
        aspect: The aspect bucket, for example `4x3`.
        width: Width of a training picture, in pixels.
        height: Height of a training picture, in pixels.
        rows: Its records in the tar's order, of `PLAN_SCHEMA`.
    """

    number: int
    path: str
    resolution: int
    aspect: str
    width: int
    height: int
    rows: pa.Table


def plan_name(number: int) -> str:
    """Returns the path of a tar's plan below the set."""
    return f"{PLANS}/{number:06d}.parquet"


def note_name(number: int) -> str:
    """Returns the path below the set of the note that a tar is written."""
    return f"{NOTES}/{number:06d}.json"


def encode_plan(tar: PlannedTar) -> bytes:
    """Encodes the plan of one tar as Parquet, with its bucket and path in the footer."""
    fields = {
        "path": tar.path,
        "resolution": str(tar.resolution),
        "aspect": tar.aspect,
        "width": str(tar.width),
        "height": str(tar.height),
    }
    return encode_part(tar.rows, fields)


def decode_plan(number: int, content: bytes) -> PlannedTar:
    """Decodes what `encode_plan` encoded; `number` is the tar's number."""
    file = pq.ParquetFile(pa.BufferReader(content))
    footer = own_footer(file.schema_arrow)
    return PlannedTar(
        number,
        footer["path"],
        int(footer["resolution"]),
        footer["aspect"],
        int(footer["width"]),
        int(footer["height"]),
        file.read().replace_schema_metadata(None),
    )

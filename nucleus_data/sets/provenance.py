"""What a sample's `.json` says: where its picture is from, and what was cut from it.

It never changes, so a tar is never written again for a caption or a score. Every field is in every
sample, null where nothing is known: readers that make columns of fields find the same ones in each.
"""

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

# id, key, url, licence, sha256 (of the original) and source: as `records` have them.
FIELDS = pa.schema(
    [
        ("id", pa.string()),
        ("key", pa.string()),
        ("url", pa.string()),
        ("licence", pa.string()),
        ("sha256", pa.string()),
        ("source", pa.string()),
        ("original_width", pa.int32()),
        ("original_height", pa.int32()),
        # Left, top, right, bottom, in upright pixels of the original.
        ("crop", pa.list_(pa.int32(), 4)),
        # Of the stored picture.
        ("width", pa.int32()),
        ("height", pa.int32()),
    ]
)
# Upstream columns, of which the first that a record has a value in is taken.
_NAMES = tuple(FIELDS.names)
URL = ("source.url",)
LICENCE = ("source.licence", "source.license", "source.LICENCE", "source.LICENSE")

_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=False)


def encode(record: Mapping[str, Any]) -> bytes:
    """A sample's `.json`: all `FIELDS`, whatever else the record has."""
    content = {name: record.get(name) for name in _NAMES}
    return _ENCODER.encode(content).encode()

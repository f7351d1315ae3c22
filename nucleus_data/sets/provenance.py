"""The content of a sample's `.json`: where its picture comes from, and how it was cropped.

It never changes: captions and scores are stored elsewhere, so a tar is never written again for
them. Every sample has every field, null if unknown, because readers that turn fields into columns
need the same ones in each sample.
"""

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

# id, key, url, licence, sha256 (of the original) and source have the values of `records`.
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
        # Left, top, right, bottom, in pixels of the upright original.
        ("crop", pa.list_(pa.int32(), 4)),
        # Size of the stored picture, in pixels.
        ("width", pa.int32()),
        ("height", pa.int32()),
    ]
)
_NAMES = tuple(FIELDS.names)
# Upstream columns for `url` and `licence`: the first one with a value is taken.
URL = ("source.url",)
LICENCE = ("source.licence", "source.license", "source.LICENCE", "source.LICENSE")

_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=False)


def encode(record: Mapping[str, Any]) -> bytes:
    """Encodes a sample's `.json`: all `FIELDS`, null if missing; other keys are left out."""
    content = {name: record.get(name) for name in _NAMES}
    return _ENCODER.encode(content).encode()

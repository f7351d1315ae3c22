"""Column types for Hugging Face `datasets`, so that it does not infer them from a few rows.

`datasets` infers types from the first five samples of a tar. If none of these has a licence, the
column is inferred as null, and the first licence that occurs raises an error. So the types are
declared in the card (YAML) and in Parquet footers (JSON), in the form that versions 2 to 5 of
`datasets` understand.
"""

import json
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
FOOTER = b"huggingface"


def card_features(fields: Iterable[pa.Field]) -> list[dict[str, Any]]:
    """Returns the `features` of a card's `dataset_info`; a field of type `IMAGE` is a picture."""
    return [{"name": field.name, **_yaml(field.type)} for field in fields]


def with_features(schema: pa.Schema) -> pa.Schema:
    """Returns a schema with metadata by which `datasets` recognises pictures in Parquet files."""
    features = {field.name: _json(field.type) for field in schema}
    text = json.dumps({"info": {"features": features}}, sort_keys=True)
    return schema.with_metadata({FOOTER: text.encode()})


def _yaml(kind: pa.DataType) -> dict[str, Any]:
    if kind.equals(IMAGE):
        return {"dtype": "image"}
    if pa.types.is_struct(kind):
        return {"struct": card_features(kind.field(i) for i in range(kind.num_fields))}
    if pa.types.is_list(kind):
        inner = _yaml(kind.value_type)
        return {"sequence": inner["dtype"] if inner.keys() == {"dtype"} else inner}
    return {"dtype": _name(kind)}


def _json(kind: pa.DataType) -> Any:
    if kind.equals(IMAGE):
        return {"_type": "Image"}
    if pa.types.is_struct(kind):
        fields = (kind.field(i) for i in range(kind.num_fields))
        return {field.name: _json(field.type) for field in fields}
    if pa.types.is_list(kind):
        return {"feature": _json(kind.value_type), "_type": "Sequence"}
    return {"dtype": _name(kind), "_type": "Value"}


def _name(kind: pa.DataType) -> str:
    """Returns the name that `datasets` has for a type."""
    return {pa.float32(): "float32", pa.float64(): "float64"}.get(kind, str(kind))

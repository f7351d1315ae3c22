"""What Hugging Face `datasets` is told of columns, so that it need not guess them from a few rows.

It guesses a type from the first five samples of a tar: a licence that these lack would be a column
of nulls, and the first one that is stated an error. A card (YAML) and a Parquet footer (JSON) say
the types instead, in the words that its versions 2 to 5 know.
"""

import json
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
FOOTER = b"huggingface"


def card_features(fields: Iterable[pa.Field]) -> list[dict[str, Any]]:
    """The features of a `dataset_info` in a card's YAML; a field of type `IMAGE` is a picture."""
    return [{"name": field.name, **_yaml(field.type)} for field in fields]


def with_features(schema: pa.Schema) -> pa.Schema:
    """A schema whose footer in Parquet shows its pictures to `datasets`."""
    features = {field.name: _json(field.type) for field in schema}
    told = json.dumps({"info": {"features": features}}, sort_keys=True)
    return schema.with_metadata({FOOTER: told.encode()})


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
    """A type as `datasets` calls it."""
    return {pa.float32(): "float32", pa.float64(): "float64"}.get(kind, str(kind))

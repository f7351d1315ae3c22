"""Vectors as the stage `embed` would store them, for tests of what is said of them."""

import numpy as np
import pyarrow as pa

from nucleus_data.corpus.tables import Table, table_schema
from tests.support.embedded import WIDTH


def write_vectors(run, *rows, broken=(), name=""):
    """Writes the vectors of rows of shard 0; returns those of pictures and of texts.

    Args:
        run: A run that knows the tables.
        rows: Which rows.
        broken: Of these, pictures that can't be read.
        name: The model's name; empty for that of `embed.model`.
    """
    rng = np.random.default_rng(7)
    tail, prefix = (f".{name}", f"{name}_") if name else ("", "")
    keys = run.corpus.records.read(0, ["shard", "row", "id", "source.caption"]).to_pylist()
    made = {}
    for kind in ("image", "text"):
        made[kind] = rng.standard_normal((len(keys), WIDTH)).astype(np.float16)
        column = f"{prefix}{kind}_embedding"
        schema = table_schema(pa.schema([(column, pa.list_(pa.float16()))]))
        values = []
        for row in rows:
            key = {k: v for k, v in keys[row].items() if k != "source.caption"}
            if row in broken:
                values.append({**key, "error": "truncated_header"})
                continue
            captioned = kind == "image" or keys[row]["source.caption"]
            values.append({**key, column: made[kind][row] if captioned else None})
        table = f"embed.{kind}{tail}"
        part = pa.Table.from_pylist(values, schema)
        Table(run.corpus.store, table, run.tables[table]).append(0, part, {})
    return made["image"], made["text"]


def stored(run, name) -> dict[int, dict]:
    """The rows of shard 0 in a table, by row."""
    found = Table(run.corpus.store, name, run.tables[name]).read(0)
    return {} if found is None else {row.pop("row"): row for row in found.to_pylist()}


def unit(vector) -> np.ndarray:
    """A vector divided by its length."""
    vector = vector.astype(np.float32)
    return vector / np.linalg.norm(vector)

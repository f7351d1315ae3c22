"""Finds upstream columns whose type in new rows conflicts with that in the corpus.

All parts of `records` are read as one table. If a column has numbers in one source and dates in
another, DuckDB has no common type for them. The new rows' values are then stored as text, which is
compatible with all types.
"""

from collections.abc import Collection, Iterable

import pyarrow as pa

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.footers import read_ending
from nucleus_data.stages.ingest.claims import claim_name
from nucleus_data.stages.ingest.listing.spool import PREFIX


def other_types(corpus: Corpus, claims: Iterable[int], schema: pa.Schema) -> list[str]:
    """Returns the columns with numbers in the new rows and times in the corpus, or vice versa.

    Args:
        corpus: The corpus.
        claims: Numbers of the claims to compare with.
        schema: Schema of the new rows.
    """
    families = {name: _family(schema.field(name).type) for name in schema.names}
    new = {name.lower(): family for name, family in families.items() if name.startswith(PREFIX)}
    apart: set[str] = set()
    for number in claims:
        for field in _schema(corpus, number):
            met = {new.get(field.name.lower()), _family(field.type)}
            if met == {"number", "time"}:
                apart.add(field.name.lower())
    return [name for name in schema.names if name.lower() in apart]


def with_texts(rows: pa.Table, columns: Collection[str]) -> pa.Table:
    """Casts columns of rows to text."""
    for name in columns:
        place = rows.column_names.index(name)
        rows = rows.set_column(place, name, rows[name].cast(pa.string()))
    return rows


def _schema(corpus: Corpus, number: int) -> pa.Schema:
    """Returns the schema of a shard's records; if they are not committed yet, that of its claim."""
    try:
        ending = read_ending(corpus.store, f"{corpus.records.folder}/{number:06d}-0.parquet")
    except FileNotFoundError:
        ending = read_ending(corpus.store, claim_name(number))
    return ending.schema.to_arrow_schema()


def _family(kind: pa.DataType) -> str | None:
    """Returns the family of compatible types: number (with booleans), time, or None for others."""
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return "number"
    return "time" if pa.types.is_date(kind) or pa.types.is_timestamp(kind) else None

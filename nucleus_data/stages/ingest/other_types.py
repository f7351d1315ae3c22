"""Upstream columns whose type in new rows does not meet the one that the corpus has of that name.

Upstream values are truth values, numbers, texts, dates or times, and a table of records is read as
one: a year as a number in one source and a date in another could not be read together. The new
rows' values are then texts, which meet all of these.
"""

from collections.abc import Collection, Iterable

import pyarrow as pa

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.footers import read_ending
from nucleus_data.stages.ingest.claims import claim_name
from nucleus_data.stages.ingest.listing.spool import PREFIX


def other_types(corpus: Corpus, claims: Iterable[int], schema: pa.Schema) -> list[str]:
    """Columns that hold numbers in new rows and times in the corpus, or the other way round.

    Args:
        corpus: The corpus.
        claims: Numbers of claims to compare with.
        schema: The new rows'.
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
    """Rows with some columns as texts."""
    for name in columns:
        place = rows.column_names.index(name)
        rows = rows.set_column(place, name, rows[name].cast(pa.string()))
    return rows


def _schema(corpus: Corpus, number: int) -> pa.Schema:
    """The columns of a shard's records; until they are committed, those of its claim."""
    try:
        ending = read_ending(corpus.store, f"{corpus.records.folder}/{number:06d}-0.parquet")
    except FileNotFoundError:
        ending = read_ending(corpus.store, claim_name(number))
    return ending.schema.to_arrow_schema()


def _family(kind: pa.DataType) -> str | None:
    """What a type meets: numbers and truth values one another, and dates and times."""
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return "number"
    return "time" if pa.types.is_date(kind) or pa.types.is_timestamp(kind) else None

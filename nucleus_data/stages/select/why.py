"""Why one of two copies stays: the first item of the order of preference in which they differ.

It is for pages: the walk itself sorts, and compares no pair.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import Table
from nucleus_data.stages.compare.preference import PIXELS, QUALITY, RANK, WORSE
from nucleus_data.stages.select.database import sealed
from nucleus_data.stages.select.expression import Expression
from nucleus_data.stages.select.judge import Shard, values_of
from nucleus_data.stages.select.tiers import is_score_order

Place = tuple[int, int]
# What an item of the default order says of the copy that stays; `{}` are both copies' values.
WORDS = {
    RANK: "laid over each other, it is the better copy (rank {} against {})",
    WORSE: "the other has traces of enlarging, or no colour",
    PIXELS: "it has more pixels inside its borders",
    QUALITY: "less is wrong with it, by a sum of signals: {} against {}",
    "bytes desc": "its file is larger: {} against {} bytes",
}
SCORED = "its score is higher: {} against {}"
EQUAL = "they are equal in all that is preferred, so their ids decide"


def preferences(
    corpus: Corpus,
    tables: Mapping[str, str],
    prefer: Sequence[Expression],
    places: Iterable[Place],
) -> dict[Place, list[Any]]:
    """What each item of an order of preference is of some records.

    Args:
        corpus: The corpus.
        tables: Config hashes of the tables that the order reads.
        prefer: The order.
        places: Shard and row of the records.

    Returns:
        Shard and row -> a value for each item; nothing if the values cannot be had.
    """
    columns = list(dict.fromkeys(c for order in prefer for c in order.columns))
    wanted: dict[int, list[int]] = defaultdict(list)
    for shard, row in set(places):
        wanted[shard].append(row)
    parts = []
    for shard, rows in sorted(wanted.items()):
        known = corpus.records.read(shard, ["shard", "row"])
        if known is None:
            continue
        mine = known.filter(pc.is_in(known["row"], pa.array(rows, known.schema.field("row").type)))
        read = {
            name: Table(corpus.store, name, tables[name]).read(
                shard, ["row", *(c.name for c in columns if c.table == name)]
            )
            for name in dict.fromkeys(c.table for c in columns)
        }
        values = values_of(Shard(mine, read, {}), columns)
        for name in values.column_names:
            mine = mine.append_column(name, values.column(name))
        parts.append(mine)
    if not parts or not prefer:
        return {}
    connection = sealed()
    connection.register("copies", pa.concat_tables(parts, promote_options="permissive"))
    asked = ", ".join(order.value for order in prefer)
    try:
        found = connection.sql(f"SELECT shard, row, {asked} FROM copies").fetchall()
    except duckdb.Error:
        return {}
    return {(shard, row): values for shard, row, *values in found}


def why(prefer: Sequence[Expression], stays: Sequence[Any], dropped: Sequence[Any]) -> str:
    """In words, why one of two copies stays; the arguments are of `preferences`."""
    for order, mine, other in zip(prefer, stays, dropped, strict=True):
        if mine != other:
            said = WORDS.get(order.text, f"{order.text}: {{}} against {{}}")
            said = SCORED if is_score_order(order.text) else said
            # Expressions may hold braces of their own.
            return said.replace("{}", _shown(mine), 1).replace("{}", _shown(other), 1)
    return EQUAL


def _shown(value: Any) -> str:
    if value is None:
        return "no value"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"

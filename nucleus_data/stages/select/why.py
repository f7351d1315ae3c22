"""Explains why one of two copies stays: the first item of the preference in which they differ.

It is only used on HTML pages: the walk itself sorts the records, and does not compare pairs.
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
# Item of the default order -> explanation. `{}` is the value of the copy that stays, then of the
# other.
WORDS = {
    RANK: "aligned with the other, it is the better copy (rank {} against {})",
    WORSE: "the other shows signs of enlarging, or has no colour",
    PIXELS: "it has more pixels inside its borders",
    QUALITY: "it has fewer defects, by a sum of signals: {} against {}",
    "bytes desc": "its file is larger: {} against {} bytes",
}
SCORED = "its score is higher: {} against {}"
EQUAL = "they are equal in every preference, so their ids decide"


def preferences(
    corpus: Corpus,
    tables: Mapping[str, str],
    prefer: Sequence[Expression],
    places: Iterable[Place],
) -> dict[Place, list[Any]]:
    """Evaluates each item of an order of preference on some records.

    Args:
        corpus: The corpus.
        tables: Table name -> config hash, of the tables that the order reads.
        prefer: The order of preference.
        places: Shard and row of each record.

    Returns:
        (shard, row) -> the value of each item; empty if they can't be evaluated.
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
        chosen = known.filter(
            pc.is_in(known["row"], pa.array(rows, known.schema.field("row").type))
        )
        read = {
            name: Table(corpus.store, name, tables[name]).read(
                shard, ["row", *(c.name for c in columns if c.table == name)]
            )
            for name in dict.fromkeys(c.table for c in columns)
        }
        values = values_of(Shard(chosen, read, {}), columns)
        for name in values.column_names:
            chosen = chosen.append_column(name, values.column(name))
        parts.append(chosen)
    if not parts or not prefer:
        return {}
    connection = sealed()
    connection.register("copies", pa.concat_tables(parts, promote_options="permissive"))
    asked = ", ".join(order.value for order in prefer)
    try:
        evaluated = connection.sql(f"SELECT shard, row, {asked} FROM copies").fetchall()
    except duckdb.Error:
        return {}
    return {(shard, row): values for shard, row, *values in evaluated}


def why(prefer: Sequence[Expression], stays: Sequence[Any], dropped: Sequence[Any]) -> str:
    """Returns in words why one of two copies stays.

    Args:
        prefer: The order of preference.
        stays: The values of the copy that stays, from `preferences`.
        dropped: The values of the copy that is dropped.
    """
    for order, kept, other in zip(prefer, stays, dropped, strict=True):
        if kept != other:
            text = WORDS.get(order.text, f"{order.text}: {{}} against {{}}")
            text = SCORED if is_score_order(order.text) else text
            # Not `str.format`: expressions may have braces of their own.
            return text.replace("{}", _shown(kept), 1).replace("{}", _shown(other), 1)
    return EQUAL


def _shown(value: Any) -> str:
    if value is None:
        return "no value"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"

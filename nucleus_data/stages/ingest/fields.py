"""Converts fields of JSON sidecars to upstream columns, with limits on their number and names.

A picture gets at most `MOST_COLUMNS` columns, from the first fields of its JSON file. A shard has
at most as many: those of most pictures, with ties broken in favour of small files. The number of
omitted values is counted in `source.columns_left_out`. Without a limit, 20,000 files with different
fields would make a part that can't be written or read in reasonable time.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from nucleus_data.stages.ingest.listing.spool import PREFIX
from nucleus_data.stages.ingest.texts import cleaned

MOST_COLUMNS = 256
MOST_NAME = 200
LEFT_OUT = PREFIX + "columns_left_out"
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f]")


def field_columns(fields: Mapping[str, Any], ours: Iterable[str]) -> dict[str, Any]:
    """Converts a JSON object's fields to columns; nested values become JSON text.

    Args:
        fields: Name -> value.
        ours: Reserved names; a field with such a name becomes `NAME_upstream`.
    """
    columns: dict[str, Any] = {}
    left_out = 0
    for name, value in fields.items():
        if value is None:
            continue
        if len(columns) == MOST_COLUMNS or len(name) > MOST_NAME or _CONTROLS.search(name):
            left_out += 1
            continue
        name = cleaned(name)  # first, so that a lone surrogate can't disguise a reserved name
        column = PREFIX + (f"{name}_upstream" if name in ours else name)
        if column in columns:
            left_out += 1
            continue
        columns[column] = _flat(value)
    return columns | ({LEFT_OUT: left_out} if left_out else {})


def chosen_columns(rows: Iterable[Mapping[str, Any]], ours: Iterable[str]) -> set[str]:
    """Chooses the columns of a shard.

    Of names that differ only in case, one is kept, since SQL does not distinguish them.

    Args:
        rows: The columns found beside each picture.
        ours: Columns that are always kept, and do not count.
    """
    counts: Counter[str] = Counter()
    fewest: dict[str, int] = {}
    for row in rows:
        counts.update(row.keys())
        for name in row:
            fewest[name] = min(len(row), fewest.get(name, len(row)))
    always = {LEFT_OUT, *ours}
    kept, lower = always & counts.keys(), {name.lower() for name in always}
    others = sorted(counts.keys() - always, key=lambda n: (-counts[n], fewest[n], n))
    room = MOST_COLUMNS
    for name in others:
        if room and name.lower() not in lower:
            kept.add(name)
            lower.add(name.lower())
            room -= 1
    return kept


def plain_array(values: list[Any]) -> pa.Array:
    """Converts JSON values to an array: bool, int64, double or list of text; text if mixed."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {list}:
        return pa.array(values, pa.list_(pa.string()))
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    if kinds == {int}:
        return pa.array(values, pa.int64())
    if kinds and kinds <= {int, float}:
        return pa.array([None if v is None else float(v) for v in values], pa.float64())
    return pa.array(
        [v if v is None or isinstance(v, str) else json.dumps(v) for v in values], pa.string()
    )


def _flat(value: Any) -> Any:
    if isinstance(value, dict | list):
        return cleaned(json.dumps(value, sort_keys=True, ensure_ascii=False))
    return cleaned(value) if isinstance(value, str) else value

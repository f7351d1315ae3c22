"""Fields of JSON files as upstream columns: how many, how deep, and under which names.

A picture has at most `MOST_COLUMNS` of them, the first of its JSON file, and so has a shard: those
that most of its pictures have, and of equals those of the smallest files. What is left out is
counted in `source.columns_left_out`. (A part of a table with a column for every field that
20,000 files make up can be neither written nor read in time.)
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from nucleus_data.stages.ingest.listing.spool import PREFIX
from nucleus_data.stages.ingest.texts import cleaned

MOST_COLUMNS = 256
MOST_NAME = 200
LEFT_OUT = PREFIX + "columns_left_out"
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f]")


def field_columns(fields: Mapping[str, Any], ours: Iterable[str]) -> dict[str, Any]:
    """Fields as columns: plain values as they are, others as JSON text.

    Args:
        fields: Name -> value, as JSON has them.
        ours: Names that mean something of ours: a field of that name is `NAME_upstream`.
    """
    columns: dict[str, Any] = {}
    left_out = 0
    for name, value in fields.items():
        if value is None:
            continue
        if len(columns) == MOST_COLUMNS or len(name) > MOST_NAME or _CONTROLS.search(name):
            left_out += 1
            continue
        name = cleaned(name)  # before it is compared: a lone surrogate hides no name of ours
        column = PREFIX + (f"{name}_upstream" if name in ours else name)
        if column in columns:
            left_out += 1
            continue
        columns[column] = _flat(value)
    return columns | ({LEFT_OUT: left_out} if left_out else {})


def chosen_columns(rows: Iterable[Mapping[str, Any]], ours: Iterable[str]) -> set[str]:
    """Those columns beside a shard's pictures that it keeps.

    Names that differ in the case of letters alone are one name to SQL: one of them is kept.

    Args:
        rows: The columns that were found beside each picture.
        ours: Columns that are kept whatever their number.
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


def _flat(value: Any) -> Any:
    if isinstance(value, dict | list):
        return cleaned(json.dumps(value, sort_keys=True, ensure_ascii=False))
    return cleaned(value) if isinstance(value, str) else value

"""Upstream text columns as records may have them, and captions out of one column.

Rows go through by the ten thousand. What has no control character, is no list and not too long is
not touched: its bytes stay what they were.
"""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.stages.ingest.listing.spool import PREFIX
from nucleus_data.stages.ingest.sidecars import CAPTION, CAPTION_ERROR, CAPTIONS, caption_values
from nucleus_data.stages.ingest.texts import MOST_CHARACTERS, cleaned

_DIRTY = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x{9f}]"


def with_plain_texts(rows: pa.Table) -> pa.Table:
    """Rows whose texts hold no control character; captions are texts, several are a column more.

    `source.captions` and `source.caption_error` are added where there is a `source.caption`; a
    claim in which one of them has no value is written without it.
    """
    if CAPTION in rows.column_names:
        rows = _with_captions(rows)
    for place, name in enumerate(rows.column_names):
        if name.startswith(PREFIX):
            array = rows[name].combine_chunks()
            plain = _plain(array)
            if plain is not array:
                rows = rows.set_column(place, rows.schema.field(name), plain)
    return rows


def without_empty(rows: pa.Table) -> pa.Table:
    """Rows without the columns of `with_plain_texts` that have no value."""
    ours = [name for name in (CAPTIONS, CAPTION_ERROR) if name in rows.column_names]
    return rows.drop_columns([name for name in ours if rows[name].null_count == len(rows)])


def _with_captions(rows: pa.Table) -> pa.Table:
    given = rows[CAPTION].combine_chunks()
    if pa.types.is_string(given.type):
        odd = pc.or_(
            pc.match_substring_regex(given, rf"(?s){_DIRTY}|^\[.*\]$"),
            pc.greater(pc.utf8_length(given), MOST_CHARACTERS),
        )
        touched = pc.indices_nonzero(odd.fill_null(False)).to_pylist()
    else:
        touched = list(range(len(given)))
    texts: list[Any] = given.to_pylist() if touched else []
    several: dict[int, list[str] | None] = {}
    reasons: dict[int, str | None] = {}
    for row in touched:
        found = caption_values(texts[row])
        texts[row] = found.get(CAPTION)
        several[row] = found.get(CAPTIONS)
        reasons[row] = found.get(CAPTION_ERROR)
    if touched or not pa.types.is_string(given.type):
        place = rows.column_names.index(CAPTION)
        rows = rows.set_column(place, CAPTION, pa.array(texts, pa.string()))
    places = range(len(rows))
    if CAPTIONS not in rows.column_names:  # else it is upstream's own
        column = pa.array([several.get(row) for row in places], pa.list_(pa.string()))
        rows = rows.append_column(CAPTIONS, column)
    column = pa.array([reasons.get(row) for row in places], pa.string())
    return rows.append_column(CAPTION_ERROR, column)


def _plain(array: pa.Array) -> pa.Array:
    """An array whose texts, or lists of texts, hold no control character."""
    if pa.types.is_string(array.type):
        dirty = pc.match_substring_regex(array, _DIRTY)
        if not pc.any(dirty).as_py():
            return array
        values = [None if v is None else cleaned(v) for v in array.to_pylist()]
        return pa.array(values, array.type)
    if pa.types.is_list(array.type):  # of captions
        values = array.to_pylist()
        plain = [None if v is None else [t and cleaned(t) for t in v] for v in values]
        return array if plain == values else pa.array(plain, array.type)
    return array

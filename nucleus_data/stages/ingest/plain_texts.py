"""Cleans upstream text columns, and splits up captions, in batches of rows.

Values without control characters, that are not lists and not too long, are not changed.
"""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.stages.ingest.listing.spool import PREFIX
from nucleus_data.stages.ingest.sidecars import CAPTION, CAPTION_ERROR, CAPTIONS, caption_values
from nucleus_data.stages.ingest.texts import MOST_CHARACTERS, cleaned

_DIRTY = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x{9f}]"


def with_plain_texts(rows: pa.Table) -> pa.Table:
    """Removes control characters from texts, and makes each caption a single text.

    If there is a column `source.caption`, adds `source.captions` (all captions, where a row has
    several) and `source.caption_error` (why a caption could not be used); `without_empty` removes
    them again if they are empty.
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
    """Removes columns added by `with_plain_texts` that have no value."""
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
    """Removes control characters from texts, or lists of texts."""
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

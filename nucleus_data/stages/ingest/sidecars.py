"""What stands beside a picture (a caption, JSON), as columns of its record.

`source.caption` is the caption; where there are several (a JSON array), `source.captions` has all
of them and `source.caption` the first. `source.caption_error` says why something that was there is
not taken: `caption_encoding`, `caption_too_long`, `caption_not_text`, `caption_missing` (it
went away), `json_invalid`, `captions_left_out` (those past the first 100). The picture is taken
all the same, and the build counts these reasons.
"""

import json
from typing import Any

from nucleus_data.stages.ingest.fields import LEFT_OUT, field_columns
from nucleus_data.stages.ingest.listing.spool import PREFIX
from nucleus_data.stages.ingest.texts import caption, decode, decoded
from nucleus_data.upstream.json_objects import parsed

CAPTION, CAPTIONS = PREFIX + "caption", PREFIX + "captions"
CAPTION_ERROR = PREFIX + "caption_error"
NOT_TEXT, MISSING, INVALID = "caption_not_text", "caption_missing", "json_invalid"
MANY = "captions_left_out"
MOST_JSON = 4 << 20  # bytes
MOST_CAPTIONS = 100
_OURS = {n.removeprefix(PREFIX) for n in (CAPTION, CAPTIONS, CAPTION_ERROR, LEFT_OUT)}


def caption_columns(data: bytes, encoding: str | None = None) -> dict[str, Any]:
    """The columns of a caption file's or member's bytes."""
    found = decode(data, encoding)
    return {CAPTION_ERROR: found.reason} if found.reason else caption_values(found.text)


def json_columns(data: bytes, encoding: str | None = None) -> dict[str, Any]:
    """The columns of a JSON object: flat fields as they are, nested ones as JSON text."""
    if len(data) > MOST_JSON:
        return {CAPTION_ERROR: INVALID}
    text = decoded(data, encoding)
    content = None if text is None else parsed(text.strip("\0"))
    if content is None:
        return {CAPTION_ERROR: INVALID}
    one, several = content.pop("caption", None), content.pop("captions", None)
    if several is not None and not isinstance(several, list):
        # Of this name, a record has a list of texts and nothing else.
        content["captions_upstream"], several = several, None
    found = merged(caption_values(several), caption_values(one))
    return field_columns(content, _OURS) | found


def caption_values(value: Any) -> dict[str, Any]:
    """The columns of a caption that came as a value: a text, or several in a list."""
    if isinstance(value, str):
        value = texts_of_array(value) or value
    several = isinstance(value, list)
    found = [
        caption(item) if isinstance(item, str) else None
        for item in (value if several else [value])
        if item is not None
    ]
    texts = [item.text for item in found if item is not None and item.text]
    reasons = [NOT_TEXT if item is None else item.reason for item in found]
    columns: dict[str, Any] = {}
    if texts:
        columns[CAPTION] = texts[0]
        if several:
            columns[CAPTIONS] = texts[:MOST_CAPTIONS]
            reasons += [MANY] if len(texts) > MOST_CAPTIONS else []
    if reason := next(filter(None, reasons), None):
        columns[CAPTION_ERROR] = reason
    return columns


def merged(json_found: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """The columns of a JSON object and of a caption of its own, whose text comes first."""
    columns = json_found | found
    if CAPTION in found and CAPTIONS in json_found:
        own = found.get(CAPTIONS, [found[CAPTION]])
        columns[CAPTIONS] = list(dict.fromkeys([*own, *json_found[CAPTIONS]]))
    return columns


def texts_of_array(text: str) -> list[str] | None:
    """The texts of a JSON array of texts; None if a text is something else."""
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]")) or len(text) > MOST_JSON:
        return None
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(items, list) and items and all(isinstance(item, str) for item in items):
        return items
    return None

"""What the caption and the JSON beside a picture say: columns, and what of them could not be read.

Whatever the bytes are, the picture is taken: what cannot be read is counted under a reason code.

- `json_unreadable`: no JSON, or no object; `json_too_deep`: nested deeper than `MOST_DEPTH`;
  `sidecar_too_large`: more than `MOST_BYTES`.
- `columns_left_out`: fields past the first `MOST_COLUMNS` of a picture (and, in `build`, those past
  the most frequent of a shard), and fields whose names are no column names.
- `caption_unreadable`: a caption in JSON that is neither a text nor a list of texts;
  `captions_left_out`: texts past the first `MOST_CAPTIONS`.

A list of captions gives `source.caption`, the first, and `source.captions`, all of them.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nucleus_data.stages.ingest.listing.spool import PREFIX

MOST_BYTES = 4 << 20
# Python's own limit depends on how deep the caller stands, so an earlier one decides.
MOST_DEPTH = 200
MOST_COLUMNS = 256
MOST_NAME = 200
MOST_CAPTIONS = 100
CAPTION, CAPTIONS = PREFIX + "caption", PREFIX + "captions"
_DIGITS = 19
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f]")


@dataclass
class Found:
    """What the files beside a picture say.

    Attributes:
        columns: `source.NAME` -> a plain value; for `source.captions` a list of texts.
        unread: Reason code -> how much could not be read or was left out.
    """

    columns: dict[str, Any] = field(default_factory=dict)
    unread: Counter[str] = field(default_factory=Counter)


def read_sidecars(caption: bytes | None, content: bytes | None) -> Found:
    """Reads the files beside a picture; a caption file comes before the captions in JSON.

    Args:
        caption: The caption file's bytes; None if there is none.
        content: The JSON file's bytes; None if there is none.
    """
    found = Found()
    captions: list[str] = []
    if content is not None:
        captions = _read_json(content, found)
    if caption is not None:
        text, reason = decoded(caption)
        if reason is not None:
            found.unread[reason] += 1
        if text is not None:
            # JSON's one caption is mostly the same text again; a list says more than the file does.
            captions = [text, *captions] if len(captions) > 1 else [text]
    captions = list(dict.fromkeys(captions))
    if len(captions) > MOST_CAPTIONS:
        found.unread["captions_left_out"] += len(captions) - MOST_CAPTIONS
    if captions:
        found.columns[CAPTION] = captions[0]
    if len(captions) > 1:
        found.columns[CAPTIONS] = captions[:MOST_CAPTIONS]
    return found


def decoded(data: bytes) -> tuple[str | None, str | None]:
    """A caption file's text, or the reason why there is none; an empty file has neither."""
    return data.decode("utf-8-sig", "replace").strip() or None, None


def chosen_columns(rows: Iterable[Mapping[str, Any]], ours: Iterable[str]) -> tuple[set[str], int]:
    """Those columns of a shard that are kept: the most frequent ones; of equals, by name.

    Column names that differ in the case of letters alone are one name to SQL: one of them is kept.

    Args:
        rows: The columns that were found beside each picture.
        ours: Columns that the shard has anyway.

    Returns:
        The names, and how many values of others are left out.
    """
    counts = Counter(name for row in rows for name in row)
    always = {CAPTION, CAPTIONS, *ours}
    lower = {name.lower() for name in always}
    kept = always & counts.keys()
    for name in sorted(counts.keys() - always, key=lambda name: (-counts[name], name)):
        if len(kept) < MOST_COLUMNS and name.lower() not in lower:
            kept.add(name)
            lower.add(name.lower())
    return kept, counts.total() - sum(counts[name] for name in kept)


def _read_json(data: bytes, found: Found) -> list[str]:
    """Takes the fields of a JSON object as columns; returns the captions among them."""
    try:
        content = json.loads(data, parse_int=_integer)
    except RecursionError:
        found.unread["json_too_deep"] += 1
        return []
    except ValueError:
        content = None
    if not isinstance(content, dict):
        found.unread["json_unreadable"] += 1
        return []
    if _is_deep(content):
        found.unread["json_too_deep"] += 1
        return []
    captions = _captions(content.pop("caption", None), found)
    captions += _captions(content.pop("captions", None), found)
    for name, value in content.items():
        if value is None:
            continue
        if (
            len(found.columns) == MOST_COLUMNS
            or len(name) > MOST_NAME
            or _CONTROLS.search(name) is not None
        ):
            found.unread["columns_left_out"] += 1
        else:
            found.columns[PREFIX + name] = _flat(value)
    return captions


def _captions(value: Any, found: Found) -> list[str]:
    """The captions of a JSON field: a text, or a list of texts."""
    values = value if isinstance(value, list) else [value]
    texts = [text for text in values if isinstance(text, str)]
    found.unread["caption_unreadable"] += sum(v is not None for v in values) - len(texts)
    found.unread += Counter()  # without zeros
    return [stripped for text in texts if (stripped := text.strip())]


def _is_deep(content: Any) -> bool:
    """Whether lists and objects are nested deeper than `MOST_DEPTH`."""
    level = [content]
    for _ in range(MOST_DEPTH):
        inner = [list(v.values()) if isinstance(v, dict) else v for v in level]
        level = [v for values in inner for v in values if isinstance(v, dict | list)]
        if not level:
            return False
    return True


def _integer(digits: str) -> int | str:
    """An integer; one that no column holds stays the text that it is."""
    if len(digits) <= _DIGITS + 1 and -(1 << 63) <= (value := int(digits)) < 1 << 63:
        return value
    return digits


def _flat(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    return value

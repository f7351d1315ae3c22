"""Placeholders: one file that stands where many different pictures were, "not available" and such.

What tells them is that the same bytes come from many sites, or under many captions. `dedup` knows
which files are equal; who has enough equals is looked at. None of them is kept.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus.states import KEPT, PENDING, REJECTED
from nucleus_data.domains import registered_domain
from nucleus_data.hashing import keyed_uint64
from nucleus_data.stages.select.settings import PlaceholderSettings

REASON = "placeholder"
READS = ("source.url", "source.caption")
TOLD_SCHEMA = pa.schema(
    [
        ("shard", pa.int32()),
        ("row", pa.int32()),
        ("domain", pa.string()),
        ("caption", pa.uint64()),
    ]
)
FOUND_SCHEMA = pa.schema(
    [("shard", pa.int32()), ("row", pa.int32()), ("domains", pa.int64()), ("captions", pa.int64())]
)


def fewest(settings: PlaceholderSettings) -> int | None:
    """How many equal files a placeholder has at least; None if none is looked for."""
    asked = [n for n in (settings.sites, settings.captions) if n is not None]
    return min(asked, default=None)


def told_of(records: pa.Table) -> pa.Table:
    """Where some records come from, and a number for each one's caption, as `TOLD_SCHEMA`."""
    urls, captions = (
        records.column(name).to_pylist() if name in records.column_names else [None] * len(records)
        for name in READS
    )
    return pa.table(
        {
            "shard": records.column("shard"),
            "row": records.column("row"),
            "domain": [_domain(url) for url in urls],
            "caption": pa.array([_number(caption) for caption in captions], pa.uint64()),
        },
        TOLD_SCHEMA,
    )


def find_placeholders(pairs: pa.Table, told: pa.Table, settings: PlaceholderSettings) -> pa.Table:
    """The records of files that come from too many sites or under too many captions.

    Args:
        pairs: All pairs of `dedup`; those with `exact` join equal files.
        told: From `told_of`, of all records in a pair.
        settings: How many are too many.

    Returns:
        `FOUND_SCHEMA`, by shard and row.
    """
    least = fewest(settings)
    if least is None:
        return FOUND_SCHEMA.empty_table()
    known: Mapping[int, Any] = dict(
        zip(
            _places(told, "shard", "row").tolist(),
            zip(told["domain"].to_pylist(), told["caption"].to_pylist(), strict=True),
            strict=True,
        )
    )
    found = []
    for members in _equal_files(pairs, least):
        seen = [known[place] for place in members if place in known]
        domains = len({domain for domain, _ in seen if domain is not None})
        captions = len({caption for _, caption in seen if caption is not None})
        if domains >= (settings.sites or np.inf) or captions >= (settings.captions or np.inf):
            found += [(p >> 32, p & 0xFFFFFFFF, domains, captions) for p in members if p in known]
    columns = [list(column) for column in zip(*sorted(found), strict=True)] or [[]] * 4
    return pa.table(dict(zip(FOUND_SCHEMA.names, columns, strict=True)), FOUND_SCHEMA)


def reject_placeholders(decided: pa.Table, found: pa.Table) -> pa.Table:
    """Turns what the rules had kept, or let wait, into rejected records.

    Args:
        decided: Decisions about the records of one shard.
        found: From `find_placeholders`, of that shard.
    """
    place = pc.index_in(decided.column("row"), value_set=found.column("row"))
    open_ = pc.is_in(decided.column("state"), pa.array([KEPT, PENDING]))
    mine = pc.and_(pc.is_valid(place), open_)
    counts = [found.column(name).to_pylist() for name in ("domains", "captions")]
    words = [
        f"the same bytes come from {domains} sites, under {captions} captions"
        for domains, captions in zip(*counts, strict=True)
    ]
    lists = decided.schema.field("reasons").type
    nobody = pa.scalar([], lists)
    said = pa.array([[text] for text in words], lists).take(place)
    replaced = {
        "state": pc.if_else(mine, REJECTED, decided.column("state")),
        "reasons": pc.if_else(mine, pa.scalar([REASON], lists), decided.column("reasons")),
        "conditions": pc.if_else(mine, said, decided.column("conditions")),
        "pending_on": pc.if_else(mine, nobody, decided.column("pending_on")),
    }
    for name, values in replaced.items():
        index = decided.schema.get_field_index(name)
        field = decided.schema.field(name)
        decided = decided.set_column(index, field, values.cast(field.type))
    return decided


def _equal_files(pairs: pa.Table, least: int) -> list[list[int]]:
    """The places of the members of each group of so many equal files at least."""
    own = pc.and_(pairs["exact"], pairs["other_shard"].is_valid())
    exact = pairs.filter(own)
    one, other = _places(exact, "shard", "row"), _places(exact, "other_shard", "other_row")
    leader: dict[int, int] = {}

    def lead(place: int) -> int:
        while (above := leader.setdefault(place, place)) != place:
            leader[place] = leader[above]
            place = above
        return place

    for a, b in zip(one.tolist(), other.tolist(), strict=True):
        first, second = lead(a), lead(b)
        leader[max(first, second)] = min(first, second)
    groups: dict[int, list[int]] = defaultdict(list)
    for place in sorted(leader):
        groups[lead(place)].append(place)
    return [members for members in groups.values() if len(members) >= least]


def _places(table: pa.Table, shard: str, row: str) -> np.ndarray:
    numbers: np.ndarray = table[shard].to_numpy().astype(np.int64) << 32
    return numbers | table[row].to_numpy().astype(np.int64)


def _domain(url: Any) -> str | None:
    try:
        host = urlsplit(url or "").hostname
    except (ValueError, AttributeError):
        return None
    return registered_domain(host) if host else None


def _number(caption: Any) -> int | None:
    """Captions are compared without what surrounds them, in lower case."""
    text = caption.strip().lower() if isinstance(caption, str) else ""
    return keyed_uint64("caption", 0, text) if text else None

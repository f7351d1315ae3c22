"""Finds placeholders: one file ("image not available") in the place of many different pictures.

A file is a placeholder if the same bytes come from many sites, or with many captions. `dedup` knows
which files are equal; only files with enough equals are examined. No copy of a placeholder is kept.
"""

import json
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nucleus_data.corpus.states import KEPT, PENDING, REJECTED
from nucleus_data.domains import registered_domain
from nucleus_data.hashing import keyed_uint64
from nucleus_data.stages.select.settings import PlaceholderSettings

Numbers = NDArray[np.int64]

REASON = "placeholder"
READS = ("source.url", "source.caption")
# Schema of `told_of`: the site of a record, and a hash of its caption.
TOLD_SCHEMA = pa.schema(
    [
        ("shard", pa.int32()),
        ("row", pa.int32()),
        ("domain", pa.string()),
        ("caption", pa.uint64()),
    ]
)
# Schema of `find_placeholders`: the numbers of different sites and captions of the same file.
FOUND_SCHEMA = pa.schema(
    [("shard", pa.int32()), ("row", pa.int32()), ("domains", pa.int64()), ("captions", pa.int64())]
)


def condition(settings: PlaceholderSettings) -> str:
    """Returns the condition for a placeholder, in words."""
    phrases = [
        f"{way} >= {least} {what}"
        for way, least, what in (
            ("from", settings.sites, "sites"),
            ("under", settings.captions, "captions"),
        )
        if least is not None
    ]
    return f"the same bytes {' or '.join(phrases)}"


def fewest(settings: PlaceholderSettings) -> int | None:
    """Returns the least number of equal files of a placeholder; None if none are looked for."""
    bounds = [n for n in (settings.sites, settings.captions) if n is not None]
    return min(bounds, default=None)


def told_of(records: pa.Table) -> pa.Table:
    """Returns the site and a hash of the caption of each record, as `TOLD_SCHEMA`.

    Args:
        records: `shard`, `row`, and the columns in `READS` if the corpus has them.
    """
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
    """Finds the records whose file comes from too many sites, or with too many captions.

    Args:
        pairs: All pairs of `dedup`; those with `exact` join equal files.
        told: The result of `told_of` for all records in a pair.
        settings: The numbers of sites and captions from which a file is a placeholder.

    Returns:
        The records as `FOUND_SCHEMA`, ordered by shard and row.
    """
    least = fewest(settings)
    if least is None:
        return FOUND_SCHEMA.empty_table()
    group, member = _equal_files(pairs, least)
    places = _places(told, "shard", "row")
    order = np.argsort(places)
    at = np.searchsorted(places[order], member)
    known = at < len(order)
    known[known] = places[order][at[known]] == member[known]
    group, member, told = group[known], member[known], told.take(order[at[known]])
    names, group = np.unique(group, return_inverse=True)
    domains = told["domain"].combine_chunks().dictionary_encode().indices
    domains, captions = (
        _distinct(group, column, len(names)) for column in (domains, told["caption"])
    )
    many = domains >= (settings.sites or np.inf)
    many |= captions >= (settings.captions or np.inf)
    mine = np.flatnonzero(many[group])
    mine = mine[np.argsort(member[mine])]
    found = {
        "shard": member[mine] >> 32,
        "row": member[mine] & 0xFFFFFFFF,
        "domains": domains[group[mine]],
        "captions": captions[group[mine]],
    }
    return pa.table({name: found[name] for name in FOUND_SCHEMA.names}).cast(FOUND_SCHEMA)


def _distinct(group: Numbers, values: pa.Array | pa.ChunkedArray, groups: int) -> Numbers:
    """Counts the different values of each group.

    Args:
        group: The group of each value, int64[N].
        values: N values; NULLs are not counted.
        groups: Number of groups.

    Returns:
        int64[groups].
    """
    valid = values.is_valid().to_numpy(zero_copy_only=False)
    codes = np.unique(pc.drop_null(values).to_numpy(zero_copy_only=False), return_inverse=True)[1]
    seen = np.unique(np.stack([group[valid], codes.astype(np.int64)], 1), axis=0)
    return np.bincount(seen[:, 0], minlength=groups)


def reject_placeholders(
    decided: pa.Table, found: pa.Table, settings: PlaceholderSettings
) -> pa.Table:
    """Rejects the placeholders among the records that the rules kept or left pending.

    Args:
        decided: Decisions about the records of one shard.
        found: The rows of `find_placeholders` for that shard.
        settings: The settings that they were found with.
    """
    place = pc.index_in(decided.column("row"), value_set=found.column("row"))
    open_ = pc.is_in(decided.column("state"), pa.array([KEPT, PENDING]))
    mine = pc.and_(pc.is_valid(place), open_)
    counts = [found.column(name).to_pylist() for name in ("domains", "captions")]
    seen = [
        json.dumps({"sites": domains, "captions": captions})
        for domains, captions in zip(*counts, strict=True)
    ]
    lists = decided.schema.field("reasons").type
    replaced: dict[str, tuple[Any, pa.DataType]] = {
        "state": (REJECTED, pa.string()),
        "reasons": ([REASON], lists),
        "conditions": ([condition(settings)], lists),
        "pending_on": ([], lists),
    }
    columns = {
        name: pc.if_else(mine, pa.scalar(value, kind), decided.column(name))
        for name, (value, kind) in replaced.items()
    }
    values = pa.array(seen, pa.string()).take(place)
    columns["values"] = pc.if_else(mine, values, decided.column("values").cast(pa.string()))
    for name, values in columns.items():
        index = decided.schema.get_field_index(name)
        field = decided.schema.field(name)
        decided = decided.set_column(index, field, values.cast(field.type))
    return decided


def _equal_files(pairs: pa.Table, least: int) -> tuple[Numbers, Numbers]:
    """Returns the members of each group of at least `least` equal files.

    `dedup` joins each file to the first of its equals, which is therefore the one with the most
    pairs. Its place is used as the name of the group.

    Returns:
        For each member the name of its group, and its place (see `_places`); both int64[N].
    """
    exact = pairs.filter(pc.and_(pairs["exact"], pairs["other_shard"].is_valid()))
    one, other = _places(exact, "shard", "row"), _places(exact, "other_shard", "other_row")
    _, inverse, counts = np.unique(
        np.concatenate([one, other]), return_inverse=True, return_counts=True
    )
    mine, others = counts[inverse[: len(one)]], counts[inverse[len(one) :]]
    leads = (mine > others) | ((mine == others) & (one < other))
    first, member = np.where(leads, one, other), np.where(leads, other, one)
    enough = np.maximum(mine, others) >= least - 1
    firsts = np.unique(first[enough])
    return np.concatenate([first[enough], firsts]), np.concatenate([member[enough], firsts])


def _places(table: pa.Table, shard: str, row: str) -> Numbers:
    numbers: Numbers = table[shard].to_numpy().astype(np.int64) << 32
    return numbers | table[row].to_numpy().astype(np.int64)


def _domain(url: Any) -> str | None:
    try:
        host = urlsplit(url or "").hostname
    except (ValueError, AttributeError):
        return None
    return registered_domain(host) if host else None


def _number(caption: Any) -> int | None:
    """Returns a hash of a caption, stripped and in lower case; None if it is empty."""
    text = caption.strip().lower() if isinstance(caption, str) else ""
    return keyed_uint64("caption", 0, text) if text else None

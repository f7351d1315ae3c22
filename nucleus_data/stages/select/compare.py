"""Compares two selections of a corpus: counts, and some records that enter or leave.

Shards are compared one by one. Of each, only counts and the first few examples of each reason are
kept, so that memory grows only with what is shown. Two existing tables are read by threads of this
process (Arrow releases the GIL). In a what-if, which writes no table, `WhatIfTask` compares its
decisions.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.at_once import at_once
from nucleus_data.corpus.states import KEPT, PENDING, REJECTED
from nucleus_data.corpus.tables import Table, left_out_shards
from nucleus_data.stages.select.comparison import ABSENT, SIDES, Comparison, content_of
from nucleus_data.stages.select.examples import (
    OF_AFTER,
    SEPARATOR,
    Group,
    choose,
    decisions_at,
    groups,
    split,
)

__all__ = ["SIDES", "Comparison", "Group", "compare", "compare_shard", "content_of"]

MARKS = ("tier", "curriculum")
SHARDS_AHEAD = 4


def compare(corpus: Corpus, before: Table, after: Table, examples: int = 0) -> Comparison:
    """Compares two selections of a corpus.

    Shards with a part that is left out as damaged are not compared.

    Args:
        corpus: The corpus.
        before: A table `selection`.
        after: Another one.
        examples: Most examples of each group.
    """
    # If one side of a shard could not be read, all its records would seem to have changed.
    skipped = left_out_shards([before, after, corpus.records])
    shards = sorted({*before.shards(), *after.shards()} - skipped)
    whole = Comparison()

    def one(number: int) -> Comparison:
        return compare_shard(
            number,
            before.read(number),
            after.read(number),
            corpus.records.read(number, ["row", "source"]),
            examples,
        )

    with corpus.store.listing_once():
        for part in at_once(corpus.store, one, shards):
            whole.add(part, examples)
    return whole


def compare_shard(
    number: int,
    before: pa.Table | None,
    after: pa.Table | None,
    records: pa.Table | None,
    examples: int = 0,
) -> Comparison:
    """Compares the decisions of a shard.

    Args:
        number: The shard.
        before: Its rows of the selection before; None if there are none.
        after: Its rows of the selection after; None if there are none.
        records: `row` and `source` of its records; None if there are none.
        examples: Most examples of each group.
    """
    sides = [_side(before), _side(after)]
    rows, sides = _aligned(sides)
    one, other = sides
    table = pa.table(
        {
            **{f"{name}_before": one.column(name) for name in one.column_names if name != "row"},
            **{f"{name}_after": other.column(name) for name in other.column_names if name != "row"},
            "source": _sources(rows, records),
        }
    )
    survivor = pc.not_equal(table["duplicate_of_before"], table["duplicate_of_after"])
    table = table.append_column("survivor", pc.fill_null(survivor, False))
    names = ("state", "why", "flags", *MARKS)
    keys = [f"{name}_{side}" for side in ("before", "after") for name in names]
    counted = table.group_by([*keys, "source", "survivor"]).aggregate([([], "count_all")])
    comparison = Comparison()
    for line in counted.to_pylist():
        _count(comparison, line, line["count_all"])
    if examples:
        for group, some in choose(number, rows, table, examples).items():
            side = after if group[0] in OF_AFTER else before
            lines = decisions_at(side, [e[2] for e in some])
            comparison.examples[group] = [(*e[:3], lines.get(e[2])) for e in some]
    return comparison


def _side(decisions: pa.Table | None) -> pa.Table:
    """Returns one side's decisions, with lists joined to strings, so that rows can be grouped."""
    if decisions is None:
        names = ("id", "state", "duplicate_of", "why", "flags", *MARKS)
        empty = {name: pa.array([], pa.string()) for name in names}
        return pa.table({"row": pa.array([], pa.int32()), **empty})

    def joined(column: str) -> Any:
        return pc.fill_null(pc.binary_join(decisions.column(column), SEPARATOR), "")

    state = decisions.column("state")
    # Selections of earlier versions lack tiers, and those without a curriculum lack buckets.
    marks = {
        name: pc.fill_null(decisions.column(name), "")
        if name in decisions.column_names
        else pa.array([""] * len(state))
        for name in MARKS
    }
    return pa.table(
        {
            **{name: decisions.column(name) for name in ("row", "id", "state", "duplicate_of")},
            "why": pc.if_else(pc.equal(state, PENDING), joined("pending_on"), joined("reasons")),
            "flags": joined("flags"),
            **marks,
        }
    )


def _aligned(sides: Sequence[pa.Table]) -> tuple[pa.Array, list[pa.Table]]:
    """Returns the rows that either side has, and both sides with one row for each of them."""
    one, other = (side.column("row").to_numpy() for side in sides)
    if np.array_equal(one, other):
        return sides[0].column("row"), list(sides)
    rows = pa.array(np.union1d(one, other).astype(np.int32))
    aligned = []
    for side in sides:
        whole = side.take(pc.index_in(rows, value_set=side.column("row").cast(pa.int32())))
        for name, value in (
            ("state", ABSENT),
            ("why", ""),
            ("flags", ""),
            *((m, "") for m in MARKS),
        ):
            filled = pc.fill_null(whole.column(name), value)
            whole = whole.set_column(whole.column_names.index(name), name, filled)
        aligned.append(whole)
    return rows, aligned


def _sources(rows: Any, records: pa.Table | None) -> Any:
    if records is None or "source" not in records.column_names:
        return pa.array([""] * len(rows), pa.string())
    places = pc.index_in(rows.cast(pa.int32()), value_set=records.column("row").cast(pa.int32()))
    return pc.fill_null(records.column("source").take(places), "")


def _count(found: Comparison, line: Mapping[str, Any], count: int) -> None:
    """Adds `count` records to the counts, all of which have the values in `line`."""
    before, after = line["state_before"], line["state_after"]
    whys = {side: split(line[f"why_{side}"]) for side in ("before", "after")}
    found.states[before, after] += count
    source = found.sources.setdefault(line["source"], Counter())
    source["records"] += count
    source["kept_before"] += count * (before == KEPT)
    source["kept_after"] += count * (after == KEPT)
    for side, state, moved in (("before", before, "leaving"), ("after", after, "entering")):
        if state == KEPT:
            for marked, mark in ((found.tiers, "tier"), (found.buckets, "curriculum")):
                counted = marked.setdefault(line[f"{mark}_{side}"], Counter())
                counted[f"kept_{side}"] += count
                counted[moved] += count * (before != after)
    if before != after:
        source["changed"] += count
        if KEPT in (before, after):
            direction = "leaving" if before == KEPT else "entering"
            source[direction] += count
            for group in groups(before, after, whys):
                found.groups[group] += count
    elif whys["before"] != whys["after"] or line["survivor"]:
        found.otherwise += count
    rejects = {side: whys[side] if line[f"state_{side}"] == REJECTED else () for side in whys}
    flags = {side: split(line[f"flags_{side}"]) for side in whys}
    for names, counts in ((rejects, found.rules), (flags, found.flags)):
        for kind, there, absent in (("newly", "after", "before"), ("no_longer", "before", "after")):
            for name in names[there]:
                if name not in names[absent]:
                    counts.setdefault(name, Counter())[kind] += count

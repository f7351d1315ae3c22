"""Chooses the example records of a comparison of two selections: some of each group, by a hash.

A group is a direction, a state and a reason, such as (`leaving`, `rejected`, `too_small`), or a
change of a flag, such as (`newly`, `flag`, `collage`).
"""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus.states import KEPT
from nucleus_data.hashing import keyed_order

EXAMPLES = "report"  # key of the order, equal to the report's, so that examples are the same ones
SEPARATOR = "\x1f"
FLAG = "flag"
# Directions whose reasons are in the selection after; those of others are in the one before.
OF_AFTER = ("leaving", "newly")
SIDES = ("before", "after")

Group = tuple[str, str, str]
Example = tuple[str, int, int, dict[str, Any] | None]


def choose(number: int, rows: Any, table: pa.Table, examples: int) -> dict[Group, list[Example]]:
    """Chooses the first records of each group, in the order of a keyed hash of their ids.

    Args:
        number: The shard.
        rows: The numbers of its rows, in the table's order.
        table: `id`, `state`, `why` and `flags` of both sides (`state_before`, ...).
        examples: Most examples of each group.

    Returns:
        Group -> its examples, without the decisions.
    """
    moved = pc.xor(*(pc.equal(table[f"state_{side}"], KEPT) for side in SIDES))
    flagged = pc.not_equal(*(table[f"flags_{side}"] for side in SIDES))
    places = pc.indices_nonzero(pc.or_(moved, flagged))
    chosen = table.take(places)
    lists: dict[Group, list[Example]] = {}
    names = [f"{name}_{side}" for name in ("state", "why", "flags") for side in SIDES]
    for row, ident, *values in zip(
        rows.take(places).to_pylist(),
        pc.coalesce(chosen["id_before"], chosen["id_after"]).to_pylist(),
        *(chosen[name].to_pylist() for name in names),
        strict=True,
    ):
        before, after, one, other, *flags = values
        place = (keyed_order(EXAMPLES, ident), number, row, None)
        own_groups = [*_flags(*map(split, flags))]
        if (before == KEPT) != (after == KEPT):
            own_groups += groups(before, after, {"before": split(one), "after": split(other)})
        for group in own_groups:
            lists.setdefault(group, []).append(place)
    return {group: first(examples, some) for group, some in lists.items()}


def groups(before: str, after: str, whys: Mapping[str, Sequence[str]]) -> Iterator[Group]:
    """Yields the groups of a record that leaves or enters, one for each reason.

    Args:
        before: Its state before; either this or `after` is kept.
        after: Its state after.
        whys: `before` and `after` -> the reasons for the state.
    """
    direction, state, side = (
        ("leaving", after, "after") if before == KEPT else ("entering", before, "before")
    )
    for why in dict.fromkeys(whys[side]) or ("",):
        yield direction, state, why


def first(count: int, examples: Sequence[Example]) -> list[Example]:
    """Returns the first `count` examples, in the order of their hashes."""
    return heapq.nsmallest(count, examples, key=lambda example: example[:3])


def split(text: str) -> list[str]:
    """Splits a string of names that were joined with `SEPARATOR`."""
    return text.split(SEPARATOR) if text else []


def decisions_at(decisions: pa.Table | None, rows: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Returns row -> decision, for some rows of a shard's selection."""
    if decisions is None:
        return {}
    chosen = decisions.filter(pc.is_in(decisions.column("row"), pa.array(rows, pa.int32())))
    return {line["row"]: line for line in chosen.to_pylist()}


def _flags(before: Sequence[str], after: Sequence[str]) -> Iterator[Group]:
    """Yields the groups of a record whose flags change."""
    for kind, present, absent in (("newly", after, before), ("no_longer", before, after)):
        for name in present:
            if name not in absent:
                yield kind, FLAG, name

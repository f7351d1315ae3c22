"""The sums of a selection: reading, checking, and formatting them."""

from collections.abc import Iterator, Mapping
from typing import Any

from nucleus_data.corpus.published import published
from nucleus_data.corpus.states import DUPLICATE, STATES
from nucleus_data.runner.work import Summary
from nucleus_data.stages.select.curriculum import COLUMN
from nucleus_data.stages.select.draw import BUCKETS, NAMES
from nucleus_data.stages.select.ledger import NONE
from nucleus_data.stages.select.plan import ROOT, TABLE

# Kinds of counts that are printed -> the words before the name.
SAID = {
    "reasons": "",
    "pending_on": "waiting for ",
    "flags": "flagged ",
    "nulls": "NULL in ",
    "tier": "kept in ",
}


def published_selection(store: Any, config_hash: str) -> dict[str, Any] | None:
    """Reads the sums of a corpus's selection; None if it is not complete."""
    return published(store, f"{ROOT}/{TABLE}/{config_hash}")


def filling_of(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Returns the number of kept records in each curriculum bucket; empty without buckets."""
    filling = {name: counts.get(f"{COLUMN}:{name}", 0) for name in (*NAMES, NONE)}
    last = max((i for i, n in enumerate(filling.values(), 1) if n), default=0)
    # The premium buckets, and `none`, are only listed if they have records.
    return [(b, n) for i, (b, n) in enumerate(filling.items(), 1) if n or (last and i <= BUCKETS)]


def check_sums(records: int, states: Mapping[str, int], dropped: int) -> None:
    """Checks that the states add up.

    Args:
        records: Number of records.
        states: State -> number of records.
        dropped: Number of records that the walk dropped.

    Raises:
        AssertionError: The sum of the states is not `records`, or the number of duplicates is not
            `dropped`.
    """
    if sum(states.values()) != records or states[DUPLICATE] != dropped:
        raise AssertionError(
            f"the ledger does not add up: {records} records, states {dict(states)}, "
            f"{dropped} dropped by the walk"
        )


def states_of(summary: Summary) -> dict[str, int]:
    """Returns state -> number of records, from the counts of the ledger's tasks."""
    return {state: summary.extra.get(state, 0) for state in STATES}


def said_sums(content: Mapping[str, Any], took: str) -> Iterator[str]:
    """Yields lines that print the sums.

    Args:
        content: The published sums of the selection.
        took: How long it took, or that it was made before.
    """
    sums = " + ".join(f"{content['states'][state]:,} {state}" for state in STATES)
    yield f"select: {content['records']:,} records = {sums} ({took})"
    if filling := filling_of(content["counts"]):
        yield f"  kept by curriculum bucket: {', '.join(f'{n:,} {b}' for b, n in filling)}"
    for name, count in sorted(content["counts"].items()):
        kind, _, rule = name.partition(":")
        if kind in SAID:
            yield f"  {SAID[kind]}{rule}: {count:,}"

"""Derives each record's state, and the reasons for it, from the answers of the rules.

If several states apply, the first of these is taken: failed, rejected, pending, kept. The state
`duplicate` comes later, from the walk over the kept records. Lists of names are built in Arrow and
numpy, which takes a fraction of the time of SQL's lambdas.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nucleus_data.corpus.states import FAILED, KEPT, PENDING, REJECTED
from nucleus_data.stages.select.judge import HAS, KEYS, RULE, Mask, known
from nucleus_data.stages.select.rules import Rule
from nucleus_data.stages.select.tiers import tier_name

DECISION_FIELDS = (
    pa.field("state", pa.string()),
    pa.field("reasons", pa.list_(pa.string())),
    pa.field("conditions", pa.list_(pa.string())),
    pa.field("values", pa.string()),
    pa.field("duplicate_of", pa.string()),
    pa.field("retryable", pa.bool_()),
    pa.field("flags", pa.list_(pa.string())),
    pa.field("nulls", pa.list_(pa.string())),
    pa.field("pending_on", pa.list_(pa.string())),
    pa.field("tier", pa.string()),
)
DECISION_SCHEMA = pa.schema(DECISION_FIELDS)
DECIDED = (KEPT, PENDING, REJECTED, FAILED)


def decide(answers: pa.Table, rules: Sequence[Rule], required: Sequence[str]) -> pa.Table:
    """Decides the state of records, before duplicates are dropped.

    Args:
        answers: The result of `judge`, with the same rules.
        rules: Checked rules.
        required: Tables that must have a record's row, or else it is pending.

    Returns:
        One row per record in the order of `answers`: `shard`, `row`, `id` and the columns of
        `DECISION_SCHEMA`.
    """
    # Masks over rules or tables have the shape bool[K, N], for N records.
    count = answers.num_rows
    columns = [answers.column(f"{RULE}{rule.name}") for rule in rules]
    answered = _stack([pc.is_valid(column).to_numpy() for column in columns], count)
    true = _stack([pc.fill_null(column, False).to_numpy() for column in columns], count)
    asked = _stack([known(rule, answers) for rule in rules], count)
    rejecting = [i for i, rule in enumerate(rules) if rule.action == "reject"]
    flagging = [i for i, rule in enumerate(rules) if rule.action == "flag"]

    error = answers.column("error").combine_chunks()
    broken: Mask = error.is_valid().to_numpy(zero_copy_only=False)
    rejected = true[rejecting].any(axis=0) & ~broken
    absent = ~_stack([answers.column(f"{HAS}{name}").to_numpy() for name in required], count)
    pending = absent.any(axis=0) & ~broken & ~rejected
    states = pa.array(DECIDED).take(
        pa.array(np.where(broken, 3, np.where(rejected, 2, np.where(pending, 1, 0))))
    )
    fired = true[rejecting] & rejected
    names = [rule.name for rule in rules]
    values = answers.column("values")
    decided = {
        "state": states,
        "reasons": _reasons([names[i] for i in rejecting], fired, error, broken),
        "conditions": _lists([rules[i].where for i in rejecting], fired),
        "values": pc.if_else(pa.array(rejected), values, pa.scalar(None, values.type)),
        "duplicate_of": pa.nulls(count, pa.string()),
        "retryable": pa.array(broken & answers.column("again").to_numpy()),
        "flags": _lists([names[i] for i in flagging], true[flagging]),
        "nulls": _lists(names, ~answered & asked & ~broken),
        "pending_on": _lists(list(required), absent & pending),
        "tier": _tiers(answers.column("tier")),
    }
    kinds = [*(answers.schema.field(name) for name in KEYS), *DECISION_SCHEMA]
    return pa.table({**{name: answers.column(name) for name in KEYS}, **decided}).cast(
        pa.schema(kinds)
    )


def _stack(masks: Sequence[Mask], count: int) -> Mask:
    """Stacks K masks of N records as bool[K, N], also if K is 0."""
    return np.stack(masks) if masks else np.zeros((0, count), bool)


def _lists(names: Sequence[str], masks: Mask) -> pa.ListArray:
    """Returns for each record the names of its true masks, in order; `masks` is bool[K, N]."""
    _, which = _nonzero(masks)
    return _list_array(pa.array(names, pa.string()), which, masks.sum(axis=0))


def _reasons(names: Sequence[str], fired: Mask, error: Any, broken: Mask) -> pa.ListArray:
    """Returns for each record the rules that rejected it, or the reason code if it failed."""
    encoded = pc.dictionary_encode(error.filter(pa.array(broken)))
    pool = pa.concat_arrays([pa.array(names, pa.string()), encoded.dictionary.cast(pa.string())])
    at, which = _nonzero(fired)
    at = np.concatenate([at, np.flatnonzero(broken)])
    which = np.concatenate([which, len(names) + encoded.indices.to_numpy()])
    order = np.argsort(at, kind="stable")
    return _list_array(pool, which[order], fired.sum(axis=0) + broken)


def _nonzero(masks: Mask) -> tuple[NDArray[Any], NDArray[Any]]:
    """Returns the record and the mask of each true value of bool[K, N], ordered by record."""
    # `np.nonzero` on two dimensions takes five times as long.
    places = np.flatnonzero(np.ascontiguousarray(masks.T))
    return np.divmod(places, max(1, len(masks)))


def _tiers(numbers: pa.ChunkedArray) -> pa.ChunkedArray:
    """Returns the names of quality tiers (A1, ...) from their numbers; NULL stays NULL."""
    count = pc.max(numbers).as_py() or 0
    names = pa.array([tier_name(number) for number in range(count + 1)], pa.string())
    return names.take(numbers)


def _list_array(pool: pa.Array, which: NDArray[Any], counts: NDArray[Any]) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pool.take(pa.array(which)))


def count_states(decisions: pa.Table) -> dict[str, int]:
    """Returns state -> number of records."""
    counts = decisions.column("state").value_counts()
    return {item["values"]: item["counts"] for item in counts.to_pylist()}

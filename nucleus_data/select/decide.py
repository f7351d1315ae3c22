"""Shards' decisions: rules applied to the aligned tables by one DuckDB query.

Precedence of states: failed, rejected, pending, kept. (Duplicates come after, in the walk, among
the kept.) DuckDB evaluates the conditions; rows are aligned, and lists of names put together, in
Arrow and numpy, which takes a fraction of the time of joins and lambdas.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nucleus_data.select.rules import Column, Rule
from nucleus_data.select.tiers import Tiers, tier_name

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
DECIDED = ("kept", "pending", "rejected", "failed")

Mask = NDArray[np.bool_]
_threads = threading.local()


class Shard(NamedTuple):
    """What is known about an image shard.

    Attributes:
        records: Its records, sorted by row: `shard`, `row`, `id`, `error`, `retryable` and the
            upstream columns that the rules read (one that is missing is NULL).
        tables: Table name -> the shard's rows, sorted by row; None if it has no part.
        failed: Table name -> `row`, `reason`: failures that may pass and have no value since.
    """

    records: pa.Table
    tables: Mapping[str, pa.Table | None]
    failed: Mapping[str, pa.Table]


def decide(
    shards: Sequence[Shard],
    rules: Sequence[Rule],
    required: Sequence[str],
    tiers: Tiers | None = None,
) -> list[pa.Table]:
    """The state of every record of some shards, before duplicates.

    Planning the query takes longer than judging a shard of 10,000 records, so shards whose columns
    have the same types are judged together.

    Args:
        shards: Image shards.
        rules: Checked rules.
        required: Tables without whose row a record is pending; those of the rejecting rules.
        tiers: How records get their quality tier; None for none.

    Returns:
        Of each shard `shard`, `row`, `id` and the columns of `DECISION_SCHEMA`, by row.
    """
    found: list[pa.Table] = []
    aligned = [_align(shard, rules, required, tiers) for shard in shards]
    for _, alike in groupby(aligned, key=lambda table: table.schema):
        parts = list(alike)
        decided = _decide(pa.concat_tables(parts), rules, required, tiers)
        ends = np.cumsum([part.num_rows for part in parts])
        found += [
            decided.slice(end - part.num_rows, part.num_rows)
            for part, end in zip(parts, ends.tolist(), strict=True)
        ]
    return found


def _align(
    shard: Shard, rules: Sequence[Rule], required: Sequence[str], tiers: Tiers | None
) -> pa.Table:
    """A shard's keys, failures, presence and what is read of it, one row a record."""
    records = shard.records
    rows = records.column("row")
    readers: list[Rule | Tiers] = [*rules, *([tiers] if tiers else [])]
    found = {f"_{name}": records.column(name) for name in ("shard", "row", "id")}
    errors, passing = [records.column("error")], []
    for name in dict.fromkeys([*required, *(t for reader in readers for t in reader.tables)]):
        if name == "records":
            continue
        table = shard.tables.get(name)
        index = _places(rows, table)
        if name in required:
            found[f"_has {name}"] = pa.array(_valid(index, len(rows)))
            errors.append(_aligned(table, "error", index))
            if (lost := shard.failed.get(name)) is not None and lost.num_rows:
                passing.append(_aligned(lost, "reason", _places(rows, lost)))
        elif tiers and name in tiers.tables:
            found[f"_has {name}"] = pa.array(_valid(index, len(rows)))
        for column in _columns(readers, name):
            found[column] = _aligned(table, column, index)
    for name in _columns(readers, "records"):
        there = name in records.column_names
        found[name] = records.column(name) if there else pa.nulls(len(rows))
    final = pc.coalesce(*errors)
    found["_error"] = pc.coalesce(final, *passing)
    found["_again"] = pc.or_(
        pc.fill_null(records.column("retryable").cast(pa.bool_()), False), pc.is_null(final)
    )
    return pa.table(found)


def _decide(
    given: pa.Table, rules: Sequence[Rule], required: Sequence[str], tiers: Tiers | None
) -> pa.Table:
    count = given.num_rows
    present = {
        name.removeprefix("_has "): _true(given.column(name))
        for name in given.column_names
        if name.startswith("_has ")
    }
    known = [_known(rule, present, count) for rule in rules]
    judged = _judge(given, rules, known, tiers, _known(tiers, present, count) if tiers else None)
    answers = [judged[f"_rule{i}"] for i in range(len(rules))]
    answered = ~_stack([np.ma.getmaskarray(answer) for answer in answers], count)
    true = _stack([np.ma.filled(answer, False) for answer in answers], count)
    rejecting = [i for i, rule in enumerate(rules) if rule.action == "reject"]
    flagging = [i for i, rule in enumerate(rules) if rule.action == "flag"]

    error = given.column("_error").combine_chunks()
    broken = _valid(error, count)
    rejected = true[rejecting].any(axis=0) & ~broken
    absent = ~_stack([present[name] for name in required], count)
    pending = absent.any(axis=0) & ~broken & ~rejected
    states = pa.array(DECIDED).take(
        pa.array(np.where(broken, 3, np.where(rejected, 2, np.where(pending, 1, 0))))
    )
    fired = true[rejecting] & rejected
    names = [rule.name for rule in rules]
    values = {
        "state": states,
        "reasons": _reasons([names[i] for i in rejecting], fired, error, broken),
        "conditions": _lists([rules[i].where for i in rejecting], fired),
        "values": pa.array(np.ma.getdata(judged["_values"]), pa.string(), mask=~rejected),
        "duplicate_of": pa.nulls(count, pa.string()),
        "retryable": pa.array(broken & _true(given.column("_again"))),
        "flags": _lists([names[i] for i in flagging], true[flagging]),
        "nulls": _lists(names, ~answered & _stack(known, count) & ~broken),
        "pending_on": _lists(list(required), absent & pending),
        "tier": _tiers(judged["_tier"]),
    }
    keys = {name: given.column(f"_{name}") for name in ("shard", "row", "id")}
    kinds = [*(given.schema.field(f"_{name}").with_name(name) for name in keys), *DECISION_SCHEMA]
    return pa.table({**keys, **values}).cast(pa.schema(kinds))


def _judge(
    table: pa.Table,
    rules: Sequence[Rule],
    known: Sequence[Mask],
    tiers: Tiers | None,
    scored: Mask | None,
) -> dict[str, Any]:
    """The answer of each rule, `_rule0` and so on (N each, masked where NULL), `_values`, `_tier`.

    `_values` are the texts of those records that a rule rejects; `_tier` counts from 1.
    """
    readers: list[Rule | Tiers] = [*rules, *([tiers] if tiers else [])]
    used = dict.fromkeys(c.name for reader in readers for c in reader.columns)
    given: dict[str, Any] = {"_at": pa.array(np.arange(table.num_rows))}
    given |= {name: table.column(name) for name in used}
    answers = []
    for i, rule in enumerate(rules):
        answer = f"CAST(({rule.where}\n) AS BOOLEAN)"
        if not known[i].all():
            # IS NULL and coalesce would be true of a row that is only not measured yet.
            given[f"_known{i}"] = pa.array(known[i])
            answer = f"CASE WHEN _known{i} THEN {answer} END"
        answers.append(f", {answer} AS _rule{i}")
    if tiers is None:
        tier = "NULL::TINYINT"
    else:
        given["_scored"] = pa.array(scored)
        tier = f"CASE WHEN _scored THEN {tiers.sql()} END"
    fields = ", ".join(
        f'"{name.removeprefix("source.")}" := "{name}"' for name in _columns(readers, "records")
    )
    source = f", struct_pack({fields}) AS source" if fields else ""
    results = "".join(f", _rule{i}" for i in range(len(rules)))
    query = f"""
        SELECT _at{results}, {_values(rules)} AS _values, _tier FROM (
          SELECT *{"".join(answers)}, {tier} AS _tier FROM (SELECT *{source} FROM given))"""
    connection = _connection()
    connection.register("given", pa.table(given))
    try:
        # A relation would be planned twice, which takes longer than the rows do.
        judged: dict[str, Any] = connection.execute(query).fetchnumpy()
    finally:
        connection.unregister("given")
    if not np.array_equal(judged["_at"], np.arange(table.num_rows)):
        raise AssertionError("the answers came back in another order than the rows")
    return judged


def _values(rules: Sequence[Rule]) -> str:
    """SQL: the values that rejected a record, as a JSON object; NULL if none did."""
    users: dict[str, tuple[str, list[str]]] = {}
    rejecting = [i for i, rule in enumerate(rules) if rule.action == "reject"]
    for i in rejecting:
        for column in rules[i].columns:
            users.setdefault(column.sql, (column.name, []))[1].append(f"_rule{i}")
    values = [
        f"CASE WHEN {_any(by)} "
        f"THEN {_text(json_key(name))} || coalesce(CAST(to_json({sql}) AS VARCHAR), 'null') END"
        for sql, (name, by) in users.items()
    ]
    # concat_ws leaves NULLs out.
    inside = f"concat_ws(', ', {', '.join(values)})" if values else "''"
    fired = _any([f"_rule{i}" for i in rejecting])
    return f"CASE WHEN {fired} THEN '{{' || {inside} || '}}' END"


def _any(conditions: Sequence[str]) -> str:
    return " OR ".join(conditions) or "false"


def _columns(readers: Sequence[Rule | Tiers], table: str) -> list[str]:
    """The columns of a table that rules and tiers read, each once."""
    return list(dict.fromkeys(c.name for r in readers for c in r.columns if c.table == table))


def _known(reader: Rule | Tiers, present: Mapping[str, Mask], count: int) -> Mask:
    """Whether every table that a rule reads has a row for the record, bool[N]."""
    known = np.ones(count, bool)
    for table in reader.tables:
        known &= present.get(table, True)
    return known


def _places(rows: pa.ChunkedArray, table: pa.Table | None) -> pa.Array | None:
    """Where each row is in a table, NULL if it is not there; None if all are in their places."""
    if table is None:
        return pa.nulls(len(rows), pa.int64())
    asked, there = rows.to_numpy(), table.column("row").to_numpy()
    if np.array_equal(asked, there):
        return None
    places = np.searchsorted(there, asked)
    absent = places == len(there)
    places[absent] = 0
    if len(there):
        absent |= there[places] != asked
    return pa.array(places, mask=absent)


def values_of(shard: Shard, columns: Iterable[Column]) -> dict[str, Any]:
    """Columns of a shard's tables, with a value, or NULL, for each of its records."""
    rows = shard.records.column("row")
    return {
        column.name: _aligned(table, column.name, _places(rows, table))
        for column in columns
        for table in [shard.tables.get(column.table)]
    }


def _aligned(table: pa.Table | None, column: str, index: pa.Array | None) -> Any:
    """A table's column with a value, or NULL, for each record."""
    if table is None:
        # NULL of any type, but for the errors, which are text.
        return pa.nulls(len(index or ()), pa.string() if column == "error" else pa.null())
    values = table.column(column)
    return values if index is None else values.take(index)


def _connection() -> duckdb.DuckDBPyConnection:
    """This thread's connection: making one takes as long as judging a shard."""
    if not hasattr(_threads, "connection"):
        _threads.connection = duckdb.connect(config={"enable_external_access": False, "threads": 1})
        _threads.connection.execute("SET TimeZone = 'UTC'")  # not the machine's, which may differ
    found: duckdb.DuckDBPyConnection = _threads.connection
    return found


def _valid(values: Any, count: int) -> Mask:
    """Where there is a value, bool[N]; everywhere, if None is given."""
    if values is None:
        return np.ones(count, bool)
    mask: Mask = pc.is_valid(values).to_numpy(zero_copy_only=False)
    return mask


def _true(values: pa.ChunkedArray) -> Mask:
    mask: Mask = values.to_numpy()
    return mask


def _stack(masks: Sequence[Mask], count: int) -> Mask:
    """Masks as bool[K, N], also if there are none."""
    return np.stack(masks) if masks else np.zeros((0, count), bool)


def _lists(names: Sequence[str], masks: Mask) -> pa.ListArray:
    """For each record the names of its true masks (bool[K, N]), in order."""
    _, which = _nonzero(masks)
    return _list_array(pa.array(names, pa.string()), which, masks.sum(axis=0))


def _reasons(names: Sequence[str], fired: Mask, error: Any, broken: Mask) -> pa.ListArray:
    """The names of the rules that fired; of a failed record the failure."""
    encoded = pc.dictionary_encode(error.filter(pa.array(broken)))
    pool = pa.concat_arrays([pa.array(names, pa.string()), encoded.dictionary.cast(pa.string())])
    at, which = _nonzero(fired)
    at = np.concatenate([at, np.flatnonzero(broken)])
    which = np.concatenate([which, len(names) + encoded.indices.to_numpy()])
    order = np.argsort(at, kind="stable")
    return _list_array(pool, which[order], fired.sum(axis=0) + broken)


def _nonzero(masks: Mask) -> tuple[NDArray[Any], NDArray[Any]]:
    """Record and mask of each true value of bool[K, N], by record."""
    # np.nonzero of two dimensions takes five times as long.
    places = np.flatnonzero(np.ascontiguousarray(masks.T))
    return np.divmod(places, max(1, len(masks)))


def _tiers(numbers: Any) -> pa.Array:
    """The names of quality tiers, A1 and so on, from their numbers; NULL where there is none."""
    numbers = np.ma.asarray(numbers)
    count = int(numbers.max()) if numbers.count() else 0
    names = pa.array([tier_name(number) for number in range(count + 1)], pa.string())
    return names.take(pa.array(np.ma.filled(numbers, 0), mask=np.ma.getmaskarray(numbers)))


def _list_array(pool: pa.Array, which: NDArray[Any], counts: NDArray[Any]) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pool.take(pa.array(which)))


def json_key(name: str) -> str:
    """A JSON object's key with its colon."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}": '


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def count_states(decisions: pa.Table) -> dict[str, int]:
    """State -> number of records."""
    counts = decisions.column("state").value_counts()
    return {item["values"]: item["counts"] for item in counts.to_pylist()}

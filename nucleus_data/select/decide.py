"""One shard's decisions: rules applied to the aligned tables by one DuckDB query.

Precedence of states: failed, rejected, pending, kept. (Duplicates come after, in the walk, among
the kept.) DuckDB evaluates the conditions; rows are aligned, and lists of names put together, in
Arrow and numpy, which takes a fraction of the time of joins and lambdas.
"""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nucleus_data.select.rules import Rule

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
)
DECISION_SCHEMA = pa.schema(DECISION_FIELDS)
DECIDED = ("kept", "pending", "rejected", "failed")

Mask = NDArray[np.bool_]
_threads = threading.local()


def decide(
    records: pa.Table,
    tables: Mapping[str, pa.Table | None],
    failed: Mapping[str, pa.Table],
    rules: Sequence[Rule],
    required: Sequence[str],
) -> pa.Table:
    """The state of every record of a shard, before duplicates.

    Args:
        records: The shard's records, sorted by row: `shard`, `row`, `id`, `error`, `retryable` and
            the upstream columns that the rules read (one that is missing is NULL).
        tables: Table name -> the shard's rows, None if it has no part.
        failed: Table name -> `row`, `reason`: failures that may pass and have no value since.
        rules: Checked rules.
        required: Tables without whose row a record is pending; those of the rejecting rules.

    Returns:
        `shard`, `row`, `id` and the columns of `DECISION_SCHEMA`, by row.
    """
    rows = records.column("row")
    present: dict[str, Mask] = {}
    columns: dict[str, Any] = {}
    errors, passing = [records.column("error")], []
    for name in required:
        index = _places(rows, tables.get(name))
        present[name] = np.ones(len(rows), bool) if index is None else _valid(index)
        for column in _columns(rules, name):
            columns[column] = _aligned(tables.get(name), column, index)
        errors.append(_aligned(tables.get(name), "error", index))
        if (lost := failed.get(name)) is not None and lost.num_rows:
            passing.append(_aligned(lost, "reason", _places(rows, lost)))
    for name in _columns(rules, "records"):
        there = name in records.column_names
        columns[name] = records.column(name) if there else pa.nulls(len(rows))

    known = [_known(rule, present, len(rows)) for rule in rules]
    judged = _judge(rows, columns, rules, known)
    answers = [judged[f"_rule{i}"] for i in range(len(rules))]
    answered = ~_stack([np.ma.getmaskarray(answer) for answer in answers], len(rows))
    true = _stack([np.ma.filled(answer, False) for answer in answers], len(rows))
    rejecting = [i for i, rule in enumerate(rules) if rule.action == "reject"]
    flagging = [i for i, rule in enumerate(rules) if rule.action == "flag"]

    final = pc.coalesce(*errors)
    error = pc.coalesce(final, *passing)
    broken = _valid(error)
    rejected = true[rejecting].any(axis=0) & ~broken
    absent = ~_stack(list(present.values()), len(rows))
    pending = absent.any(axis=0) & ~broken & ~rejected
    states = pa.array(DECIDED).take(
        pa.array(np.where(broken, 3, np.where(rejected, 2, np.where(pending, 1, 0))))
    )
    fired = true[rejecting] & rejected
    names = [rule.name for rule in rules]
    again = _true(records.column("retryable")) | ~_valid(final)
    values = {
        "state": states,
        "reasons": _reasons([names[i] for i in rejecting], fired, error, broken),
        "conditions": _lists([rules[i].where for i in rejecting], fired),
        "values": pa.array(np.ma.getdata(judged["_values"]), pa.string(), mask=~rejected),
        "duplicate_of": pa.nulls(len(rows), pa.string()),
        "retryable": pa.array(broken & again),
        "flags": _lists([names[i] for i in flagging], true[flagging]),
        "nulls": _lists(names, ~answered & _stack(known, len(rows)) & ~broken),
        "pending_on": _lists(list(required), absent & pending),
    }
    keys = {name: records.column(name) for name in ("shard", "row", "id")}
    kinds = [*(records.schema.field(name) for name in keys), *DECISION_SCHEMA]
    return pa.table({**keys, **values}).cast(pa.schema(kinds))


def _judge(
    rows: pa.ChunkedArray, columns: Mapping[str, Any], rules: Sequence[Rule], known: Sequence[Mask]
) -> dict[str, Any]:
    """The answer of each rule, `_rule0` and so on (N each, masked where it is NULL), and `_values`.

    `_values` are the texts of those records that a rule rejects.
    """
    given = {"_row": rows, **columns}
    answers = []
    for i, rule in enumerate(rules):
        answer = f"CAST(({rule.where}\n) AS BOOLEAN)"
        if not known[i].all():
            # IS NULL and coalesce would be true of a row that is only not measured yet.
            given[f"_known{i}"] = pa.array(known[i])
            answer = f"CASE WHEN _known{i} THEN {answer} END"
        answers.append(f", {answer} AS _rule{i}")
    fields = ", ".join(
        f'"{name.removeprefix("source.")}" := "{name}"' for name in _columns(rules, "records")
    )
    source = f", struct_pack({fields}) AS source" if fields else ""
    results = "".join(f", _rule{i}" for i in range(len(rules)))
    query = f"""
        SELECT _row{results}, {_values(rules)} AS _values FROM (
          SELECT *{"".join(answers)} FROM (SELECT *{source} FROM given))"""
    connection = _connection()
    connection.register("given", pa.table(given))
    try:
        # A relation would be planned twice, which takes longer than the rows do.
        judged: dict[str, Any] = connection.execute(query).fetchnumpy()
    finally:
        connection.unregister("given")
    if not np.array_equal(judged["_row"], rows.to_numpy()):
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


def _columns(rules: Sequence[Rule], table: str) -> list[str]:
    """The columns of a table that rules read, each once."""
    return list(dict.fromkeys(c.name for rule in rules for c in rule.columns if c.table == table))


def _known(rule: Rule, present: Mapping[str, Mask], count: int) -> Mask:
    """Whether every table that a rule reads has a row for the record, bool[N]."""
    known = np.ones(count, bool)
    for table in rule.tables:
        known &= present.get(table, True)
    return known


def _places(rows: pa.ChunkedArray, table: pa.Table | None) -> pa.Array | None:
    """Where each row is in a table, NULL if it is not there; None if all are in their places."""
    if table is None:
        return pa.nulls(len(rows), pa.int32())
    if np.array_equal(rows.to_numpy(), table.column("row").to_numpy()):
        return None
    places = pc.index_in(rows.cast(pa.int64()), value_set=table.column("row").cast(pa.int64()))
    return places.combine_chunks()


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
    found: duckdb.DuckDBPyConnection = _threads.connection
    return found


def _valid(values: Any) -> Mask:
    mask: Mask = pc.is_valid(values).to_numpy(zero_copy_only=False)
    return mask


def _true(values: Any) -> Mask:
    """NULL is false."""
    mask: Mask = pc.fill_null(values.cast(pa.bool_()), False).to_numpy(zero_copy_only=False)
    return mask


def _stack(masks: Sequence[Mask], count: int) -> Mask:
    """Masks as bool[K, N], also if there are none."""
    return np.stack(masks) if masks else np.zeros((0, count), bool)


def _lists(names: Sequence[str], masks: Mask) -> pa.ListArray:
    """For each record the names of its true masks (bool[K, N]), in order."""
    which = np.nonzero(np.ascontiguousarray(masks.T))[1]
    return _list_array(pa.array(names, pa.string()), which, masks.sum(axis=0))


def _reasons(names: Sequence[str], fired: Mask, error: Any, broken: Mask) -> pa.ListArray:
    """The names of the rules that fired; of a failed record the failure."""
    encoded = pc.dictionary_encode(error.filter(pa.array(broken)).combine_chunks())
    pool = pa.concat_arrays([pa.array(names, pa.string()), encoded.dictionary.cast(pa.string())])
    at, which = np.nonzero(np.ascontiguousarray(fired.T))
    at = np.concatenate([at, np.flatnonzero(broken)])
    which = np.concatenate([which, len(names) + encoded.indices.to_numpy()])
    order = np.argsort(at, kind="stable")
    return _list_array(pool, which[order], fired.sum(axis=0) + broken)


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

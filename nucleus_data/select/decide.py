"""One shard's decisions: rules applied to the joined tables, by one DuckDB query.

Precedence of states: failed, rejected, pending, kept. (Duplicates come after, in the walk, among
the kept.)
"""

from collections.abc import Mapping, Sequence

import duckdb
import numpy as np
import pyarrow as pa

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


def decide(
    records: pa.Table,
    tables: Mapping[str, pa.Table | None],
    failed: Mapping[str, pa.Table],
    rules: Sequence[Rule],
    required: Sequence[str],
) -> pa.Table:
    """The state of every record of a shard, before duplicates.

    Args:
        records: The shard's records: `shard`, `row`, `id`, `error`, `retryable` and upstream
            columns.
        tables: Table name -> the shard's rows, None if it has no part.
        failed: Table name -> `row`, `reason`: failures that may pass and have no value since.
        rules: Checked rules.
        required: Tables without whose row a record is pending; those of the rejecting rules.

    Returns:
        `shard`, `row`, `id` and the columns of `DECISION_SCHEMA`, by row.
    """
    connection = duckdb.connect(config={"enable_external_access": False, "threads": 1})
    connection.register("records_arrow", records)
    joins, present, errors = [], {}, ["r.error"]
    for i, name in enumerate(required):
        table = tables.get(name)
        present[name] = f"(t{i}.row IS NOT NULL)"
        errors.append(f"t{i}.error")
        source = table if table is not None else _empty(name, rules)
        connection.register(f"t{i}_arrow", source)
        joins.append(f"LEFT JOIN t{i}_arrow t{i} ON t{i}.row = r.row")
        connection.register(f"f{i}_arrow", failed.get(name, _no_failures()))
        joins.append(f"LEFT JOIN f{i}_arrow f{i} ON f{i}.row = r.row")
    passing = [f"f{i}.reason" for i in range(len(required))]
    columns = {c.sql: c for rule in rules for c in rule.columns}
    selected = [
        f't{required.index(c.table)}."{c.name}" AS "{c.name}"'
        for c in columns.values()
        if c.table != "records"
    ]
    upstream = [c.name for c in columns.values() if c.table == "records"]
    if upstream:
        fields = ", ".join(
            f'"{name[7:]}" := ' + (f'r."{name}"' if name in records.column_names else "NULL")
            for name in upstream
        )
        selected.append(f"struct_pack({fields}) AS source")
    flags = "".join(f", {sql} AS has{i}" for i, sql in enumerate(present.values()))
    inner = (
        f"SELECT r.shard, r.row, r.id, coalesce({', '.join(errors)}) AS final_error, "
        "coalesce(r.retryable, false) AS fetch_again, "
        f"coalesce({', '.join([*passing, 'NULL'])}) AS passing_error"
        f"{flags}{''.join(', ' + s for s in selected)} "
        f"FROM records_arrow r {' '.join(joins)}"
    )
    # IS NULL and coalesce would be true of a row that is only not measured yet.
    results = "".join(
        f", CASE WHEN {_known(rule, required)} "
        f"THEN CAST(({rule.where}\n) AS BOOLEAN) END AS rule{i}"
        for i, rule in enumerate(rules)
    )
    query = f"""
        WITH joined AS ({inner}), judged AS (SELECT *{results} FROM joined),
        listed AS (SELECT shard, row, id, final_error, passing_error, fetch_again,
          {_lists(rules, required)} FROM judged)
        SELECT shard, row, id,
          CASE WHEN final_error IS NOT NULL OR passing_error IS NOT NULL THEN 'failed'
               WHEN len(fired) > 0 THEN 'rejected'
               WHEN len(waiting) > 0 THEN 'pending' ELSE 'kept' END AS state,
          CASE state WHEN 'failed' THEN [coalesce(final_error, passing_error)]
               WHEN 'rejected' THEN fired ELSE [] END AS reasons,
          CASE state WHEN 'rejected' THEN conditions ELSE [] END AS conditions,
          CASE state WHEN 'rejected' THEN "values" ELSE NULL END AS "values",
          CAST(NULL AS VARCHAR) AS duplicate_of,
          state = 'failed' AND (final_error IS NULL OR fetch_again) AS retryable,
          flags, CASE state WHEN 'failed' THEN [] ELSE nulls END AS nulls,
          CASE state WHEN 'pending' THEN waiting ELSE [] END AS pending_on
        FROM listed ORDER BY row
    """
    schema = pa.schema(
        [*(records.schema.field(k) for k in ("shard", "row", "id")), *DECISION_SCHEMA]
    )
    return connection.sql(query).to_arrow_table().cast(schema)


def _lists(rules: Sequence[Rule], required: Sequence[str]) -> str:
    """SQL of the list columns: fired rules, conditions, values; flags, NULLs, missing tables."""
    rejecting = [(i, rule) for i, rule in enumerate(rules) if rule.action == "reject"]
    flagging = [(i, rule) for i, rule in enumerate(rules) if rule.action == "flag"]

    fired = [f"CASE WHEN rule{i} THEN {_text(rule.name)} END" for i, rule in rejecting]
    conditions = [f"CASE WHEN rule{i} THEN {_text(rule.where)} END" for i, rule in rejecting]
    flags = [f"CASE WHEN rule{i} THEN {_text(rule.name)} END" for i, rule in flagging]
    nulls = [
        f"CASE WHEN rule{i} IS NULL AND {_known(rule, required)} THEN {_text(rule.name)} END"
        for i, rule in enumerate(rules)
    ]
    waiting = [f"CASE WHEN NOT has{i} THEN {_text(name)} END" for i, name in enumerate(required)]
    users: dict[str, tuple[str, list[str]]] = {}
    for i, rule in rejecting:
        for column in rule.columns:
            users.setdefault(column.sql, (column.name, []))[1].append(f"rule{i}")
    values = [
        f"CASE WHEN {' OR '.join(f'coalesce({r}, false)' for r in by)} "
        f"THEN {_text(json_key(name))} || coalesce(CAST(to_json({sql}) AS VARCHAR), 'null') END"
        for sql, (name, by) in users.items()
    ]
    joined = f"'{{' || array_to_string({_compact(values)}, ', ') || '}}'"
    return (
        f"{_compact(fired)} AS fired, {_compact(conditions)} AS conditions, "
        f"{_compact(flags)} AS flags, "
        f'{_compact(nulls)} AS nulls, {_compact(waiting)} AS waiting, {joined} AS "values"'
    )


def _known(rule: Rule, required: Sequence[str]) -> str:
    """SQL: whether every table that a rule reads has a row for the record."""
    needed = [f"has{required.index(t)}" for t in rule.tables if t in required]
    return " AND ".join(needed) or "true"


def json_key(name: str) -> str:
    """A JSON object's key with its colon."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}": '


def _compact(items: Sequence[str]) -> str:
    return f"list_filter(CAST([{', '.join(items)}] AS VARCHAR[]), lambda x: x IS NOT NULL)"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _no_failures() -> pa.Table:
    return pa.table({"row": pa.array([], pa.int32()), "reason": pa.array([], pa.string())})


def _empty(name: str, rules: Sequence[Rule]) -> pa.Table:
    """A table without rows that has every column that a rule reads.

    The columns are NULL (of any type) after the join.
    """
    names = {c.name for rule in rules for c in rule.columns if c.table == name}
    columns = {c: pa.nulls(0) for c in names}
    return pa.table(
        {"row": pa.array([], pa.int32()), "error": pa.array([], pa.string()), **columns}
    )


def count_states(decisions: pa.Table) -> dict[str, int]:
    """State -> number of records."""
    values, counts = np.unique(
        decisions.column("state").to_numpy(zero_copy_only=False), return_counts=True
    )
    return dict(zip(values.tolist(), counts.tolist(), strict=True))

"""Evaluates the rules on records: the tables of several shards, aligned, in one DuckDB query.

Rows are aligned in Arrow and numpy, which takes a fraction of the time of joins in SQL. Planning a
query takes longer than judging a shard of 10,000 records, so several shards are judged together.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nucleus_data.errors import RequestError
from nucleus_data.sql import identifier, literal
from nucleus_data.stages.select.curriculum import Curriculum
from nucleus_data.stages.select.database import at_most, sealed
from nucleus_data.stages.select.expression import Column, Expression
from nucleus_data.stages.select.rules import Rule
from nucleus_data.stages.select.tiers import Tiers

KEYS = ("shard", "row", "id")
HAS, RULE = "has:", "rule:"
JUDGED_S = 300.0  # time limit of one query in seconds; a million records take some seconds

Mask = NDArray[np.bool_]
Mark = Tiers | Curriculum  # evaluated for each record, like the rules


class Shard(NamedTuple):
    """The data of an image shard that rules, order and tiers read.

    Attributes:
        records: Its records, sorted by row: `shard`, `row`, `id`, `error`, `retryable` and the
            upstream columns that the rules read (a missing one counts as NULL).
        tables: Table name -> the table's rows of this shard, sorted by row; None if it has no part.
        failed: Table name -> `row`, `reason`: its retryable failures that have no value since.
    """

    records: pa.Table
    tables: Mapping[str, pa.Table | None]
    failed: Mapping[str, pa.Table]


def judge(
    shards: Sequence[Shard],
    rules: Sequence[Rule],
    required: Sequence[str],
    tiers: Tiers | None = None,
    curriculum: Curriculum | None = None,
) -> pa.Table:
    """Evaluates the rules on the records of some shards, and all else that their states depend on.

    Args:
        shards: Image shards, at least one.
        rules: Checked rules.
        required: Tables without whose row a record is pending; at least those of all rules.
        tiers: The quality tiers; None for none.
        curriculum: The curriculum buckets; None for none.

    Returns:
        One row per record, in order: its keys; `error`, the reason code if it failed, and `again`,
        whether that is retryable; `has:TABLE` for each required table; `rule:NAME`, the answer of
        each rule or NULL; `values`, a JSON object of the values that rejected the record; `tier`,
        the number of its tier from 1; with a curriculum, `size` and `premium`.

    Raises:
        RequestError: An expression fails on a record, or takes longer than `JUDGED_S`.
    """
    marks = [mark for mark in (tiers, curriculum) if mark]
    aligned = [_align(shard, rules, required, marks) for shard in shards]
    tables = []
    # Tables of different schemas (a shard without a part has NULL columns) need a query each.
    for _, alike in groupby(aligned, key=lambda table: table.schema):
        given = pa.concat_tables(alike)
        judged = _ask(given, rules, marks)
        columns = {name: given.column(f"_{name}") for name in (*KEYS, "error", "again")}
        columns |= {f"{HAS}{name}": given.column(f"{HAS}{name}") for name in required}
        columns |= {f"{RULE}{r.name}": judged.column(f"_rule{i}") for i, r in enumerate(rules)}
        columns["values"] = judged.column("_values")
        columns |= {name: judged.column(f"_{name}") for name in _marked(marks)}
        tables.append(pa.table(columns))
    return pa.concat_tables(tables)


def values_of(shard: Shard, columns: Iterable[Column]) -> pa.Table:
    """Returns columns of a shard's tables, with a value or NULL for each of its records."""
    rows = shard.records.column("row")
    values = {
        column.name: _aligned(table, column.name, _places(rows, table))
        for column in columns
        for table in [shard.tables.get(column.table)]
    }
    return pa.table(values)


def _align(
    shard: Shard, rules: Sequence[Rule], required: Sequence[str], marks: Sequence[Mark]
) -> pa.Table:
    """Returns a row per record of a shard: keys, failure, presence in tables, and columns read."""
    records = shard.records
    rows = records.column("row")
    readers: list[Rule | Mark] = [*rules, *marks]
    seen = {*required, *(table for mark in marks for table in mark.tables)}
    aligned = {f"_{name}": records.column(name) for name in KEYS}
    errors, passing = [records.column("error")], []
    for name in dict.fromkeys([*required, *(t for reader in readers for t in reader.tables)]):
        if name == "records":
            continue
        table = shard.tables.get(name)
        index = _places(rows, table)
        if name in required:
            errors.append(_aligned(table, "error", index))
            if (lost := shard.failed.get(name)) is not None and lost.num_rows:
                passing.append(_aligned(lost, "reason", _places(rows, lost)))
        if name in seen:
            present = np.ones(len(rows), bool) if index is None else index.is_valid()
            aligned[f"{HAS}{name}"] = pa.array(present)
        for column in _columns(readers, name):
            aligned[column] = _aligned(table, column, index)
    for name in _columns(readers, "records"):
        exists = name in records.column_names
        aligned[name] = records.column(name) if exists else pa.nulls(len(rows))
    # A final failure takes precedence over a retryable one.
    final = pc.coalesce(*errors)
    aligned["_error"] = pc.coalesce(final, *passing)
    aligned["_again"] = pc.or_(
        pc.fill_null(records.column("retryable").cast(pa.bool_()), False), pc.is_null(final)
    )
    return pa.table(aligned)


def _marked(marks: Sequence[Mark]) -> dict[str, str]:
    """Returns name -> SQL of what the marks evaluate for each record; always has `tier`."""
    columns = {"tier": "NULL::TINYINT"}
    for i, mark in enumerate(marks):
        asked = mark.asked().items()
        columns |= {name: f"CASE WHEN _seen{i} THEN {sql} END" for name, sql in asked}
    return columns


def _ask(given: pa.Table, rules: Sequence[Rule], marks: Sequence[Mark]) -> pa.Table:
    """Runs the query on aligned rows: returns `_rule0` and so on, `_values`, `_tier` and so on.

    A rule or mark has the answer NULL if a table that it reads lacks the record's row.
    """
    readers: list[Rule | Mark] = [*rules, *marks]
    used = dict.fromkeys(c.name for reader in readers for c in reader.columns)
    asked: dict[str, Any] = {"_at": pa.array(np.arange(given.num_rows))}
    asked |= {name: without_nan(given.column(name)) for name in used}
    answers = []
    for i, rule in enumerate(rules):
        answer = f"CAST(({rule.condition.sql}) AS BOOLEAN)"
        measured = known(rule, given)
        if not measured.all():
            # Without this, a rule with IS NULL or coalesce could be true of an unmeasured record.
            asked[f"_known{i}"] = pa.array(measured)
            answer = f"CASE WHEN _known{i} THEN {answer} END"
        answers.append(f", {answer} AS _rule{i}")
    asked |= {f"_seen{i}": pa.array(known(mark, given)) for i, mark in enumerate(marks)}
    answers += [f", {sql} AS _{name}" for name, sql in _marked(marks).items()]
    marked = "".join(f", _{name}" for name in _marked(marks))
    fields = ", ".join(
        f"{identifier(name.removeprefix('source.'))} := {identifier(name)}"
        for name in _columns(readers, "records")
    )
    source = f", struct_pack({fields}) AS source" if fields else ""
    results = "".join(f", _rule{i}" for i in range(len(rules)))
    query = f"""
        SELECT _at{results}, {_values(rules)} AS _values{marked} FROM (
          SELECT *{"".join(answers)} FROM (SELECT *{source} FROM given))"""
    connection = sealed()
    connection.register("given", pa.table(asked))
    try:
        with at_most(JUDGED_S, connection):
            judged: pa.Table = connection.sql(query).to_arrow_table()
    except duckdb.Error as error:
        all_asked = {f"select.rules.{rule.name}": rule.condition for rule in rules}
        for mark in marks:
            all_asked |= mark.expressions
        raise failing(connection, all_asked, source) or error from None
    finally:
        connection.unregister("given")
    if not np.array_equal(judged.column("_at").to_numpy(), np.arange(given.num_rows)):
        raise AssertionError("the answers are in a different order than the rows")
    return judged


def failing(
    connection: duckdb.DuckDBPyConnection, asked: Mapping[str, Expression], source: str
) -> RequestError | None:
    """Returns the error about the first expression that fails on a record; None if none does.

    Args:
        connection: A connection that has the rows as `given`.
        asked: Configuration key -> expression; each is run on its own.
        source: SQL that adds the upstream columns, or an empty string.
    """
    for key, expression in asked.items():
        where = f"{key}: {expression.text!r}"
        query = f"SELECT count(({expression.sql})) FROM (SELECT *{source} FROM given)"
        try:
            with at_most(JUDGED_S, connection):
                connection.execute(query)
        except duckdb.InterruptException:
            return RequestError(f"{where} takes more than {JUDGED_S:g} s on a group of shards")
        except duckdb.Error as error:
            return RequestError(
                f"{where} fails on a record: {str(error).splitlines()[0]} "
                "(TRY(...) and TRY_CAST(...) make it NULL there)"
            )
    return None


def without_nan(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Replaces NaN by NULL: for DuckDB, NaN is larger than any number, so rules could reject it."""
    if not pa.types.is_floating(values.type):
        return values
    nan = pc.is_nan(values)
    if not pc.any(nan).as_py():  # the usual case
        return values
    return pc.if_else(nan, pa.scalar(None, values.type), values)


def known(reader: Rule | Mark, table: pa.Table) -> Mask:
    """Returns for each record whether all tables that are read have its row, bool[N].

    Args:
        reader: A rule, the tiers, or the curriculum.
        table: `has:TABLE` of each table; a table without that column has all rows.
    """
    present = np.ones(table.num_rows, bool)
    for name in reader.tables:
        if f"{HAS}{name}" in table.column_names:
            present &= table.column(f"{HAS}{name}").to_numpy()
    return present


def _values(rules: Sequence[Rule]) -> str:
    """Returns SQL for a JSON object of the values that rejected a record; NULL if none did."""
    users: dict[str, tuple[str, list[str]]] = {}
    rejecting = [i for i, rule in enumerate(rules) if rule.action == "reject"]
    for i in rejecting:
        for column in rules[i].columns:
            users.setdefault(column.sql, (column.name, []))[1].append(f"_rule{i}")
    values = [
        f"CASE WHEN {_any(by)} "
        f"THEN {literal(json_key(name))} || coalesce(CAST(to_json({sql}) AS VARCHAR), 'null') END"
        for sql, (name, by) in users.items()
    ]
    # concat_ws skips NULLs.
    inside = f"concat_ws(', ', {', '.join(values)})" if values else "''"
    fired = _any([f"_rule{i}" for i in rejecting])
    return f"CASE WHEN {fired} THEN '{{' || {inside} || '}}' END"


def _any(conditions: Sequence[str]) -> str:
    return " OR ".join(conditions) or "false"


def json_key(name: str) -> str:
    """Returns a key of a JSON object, quoted and with its colon."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}": '


def _columns(readers: Sequence[Rule | Mark], table: str) -> list[str]:
    """Returns the names of a table's columns that rules and marks read, each once."""
    return list(dict.fromkeys(c.name for r in readers for c in r.columns if c.table == table))


def _places(rows: pa.ChunkedArray, table: pa.Table | None) -> pa.Array | None:
    """Returns the index of each row in a table, NULL if absent; None if the rows are the same."""
    if table is None:
        return pa.nulls(len(rows), pa.int64())
    asked, present = rows.to_numpy(), table.column("row").to_numpy()
    if np.array_equal(asked, present):
        return None
    places = np.searchsorted(present, asked)
    absent = places == len(present)
    places[absent] = 0
    if len(present):
        absent |= present[places] != asked
    return pa.array(places, mask=absent)


def _aligned(table: pa.Table | None, column: str, index: pa.Array | None) -> Any:
    """Returns a table's column with a value or NULL for each record."""
    if table is None:
        # Columns of the type `null` fit any expression; errors are combined, so they need a type.
        return pa.nulls(len(index or ()), pa.string() if column == "error" else pa.null())
    values = table.column(column)
    return values if index is None else values.take(index)

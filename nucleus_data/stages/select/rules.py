"""Rules: named SQL conditions on one record's signals.

    rules:
      too_small: least(width, height) < 256
      low_contrast: {where: luma_std < 4, action: flag, reason: almost no contrast}

A condition sees one record: its signals by their names, and upstream columns as `source.NAME`.
Aggregates, windows, subqueries and functions that do not always give the same answer (`random()`,
`now()`) are refused, so `select` can run shard by shard and come out the same every time. DuckDB
parses the SQL; nothing is guessed from the text. A condition that is NULL, because a value is
missing or not a number (NaN), does not reject; it is counted.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import duckdb
import pyarrow as pa

from nucleus_data.config import nearest
from nucleus_data.errors import RequestError
from nucleus_data.stages.select.database import sealed
from nucleus_data.stages.select.settings import Action, SelectSettings


@dataclass(frozen=True)
class Column:
    """A column that a condition reads: where it comes from, and how it is written in SQL."""

    table: str
    name: str
    sql: str


@dataclass(frozen=True)
class Rule:
    """A checked rule."""

    name: str
    where: str
    action: Action
    reason: str
    columns: tuple[Column, ...]

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that must have a row before this rule can decide."""
        return tuple(dict.fromkeys(column.table for column in self.columns))


def check_rules(
    settings: SelectSettings, catalog: Mapping[str, str], upstream: Sequence[str]
) -> list[Rule]:
    """Parses all rules.

    Args:
        settings: The rules as configured.
        catalog: Signal name -> table.
        upstream: Names that can be used as `source.NAME`.

    Raises:
        RequestError: A condition does not parse, names an unknown column, or is not about one
            record.
    """
    return [
        Rule(
            name,
            rule.where,
            rule.action,
            rule.reason or name.replace("_", " "),
            columns_of(rule.where, f"select.rules.{name}", catalog, upstream),
        )
        for name, rule in settings.rules.items()
    ]


def check_types(rules: Sequence[Rule], types: Mapping[tuple[str, str], pa.DataType]) -> None:
    """Tries every condition on a record of NULLs, so that a wrong one stops before any shard.

    Args:
        rules: Checked rules.
        types: (table, column) -> type, of all columns that they read.

    Raises:
        RequestError: A condition does not fit the types, or is not true or false.
    """
    connection = sealed()
    for rule in rules:
        connection.register("record", record_of_nulls(rule.columns, types))
        where = f"select.rules.{rule.name}: {rule.where!r}"
        try:
            relation = connection.sql(f"SELECT ({rule.where}\n) FROM record")
            kind = str(relation.types[0])
            relation.fetchall()
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise RequestError(f"{where} does not fit its columns: {reason}") from None
        if kind not in ("BOOLEAN", '"NULL"', "NULL"):
            raise RequestError(
                f"{where} is {kind.lower()}; a rule is a condition, true or false "
                "(compare it with something)"
            )


def check_order(
    prefer: Sequence[str],
    columns: Sequence[Column],
    types: Mapping[tuple[str, str], pa.DataType],
) -> None:
    """Tries the order of preference on a record of NULLs.

    Args:
        prefer: SQL, one item of ORDER BY each.
        columns: What they read.
        types: (table, column) -> type, of these.

    Raises:
        RequestError: It is no order, or does not fit the types.
    """
    connection = sealed()
    connection.register("record", record_of_nulls(columns, types))
    for i, order in enumerate(prefer):
        try:
            connection.execute(f"SELECT 1 FROM record ORDER BY {order}")
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise RequestError(f"select.prefer[{i}]: {order!r} is no order: {reason}") from None


def record_of_nulls(
    columns: Sequence[Column], types: Mapping[tuple[str, str], pa.DataType]
) -> pa.Table:
    """A record of which nothing is known, as a condition sees it."""
    signals = [c for c in columns if c.table != "records"]
    upstream = [c for c in columns if c.table == "records"]
    fields = [(c.name, types[c.table, c.name]) for c in signals]
    inner = [(c.name.removeprefix("source."), types[c.table, c.name]) for c in upstream]
    fields += [("source", pa.struct(inner))] if inner else []
    schema = pa.schema(fields or [("nothing", pa.null())])
    return pa.Table.from_pylist([{}], schema)


def columns_of(
    condition: str, where: str, catalog: Mapping[str, str], upstream: Sequence[str]
) -> tuple[Column, ...]:
    """The columns that a condition reads, each once.

    Args:
        condition: SQL.
        where: Configuration key, for messages.
        catalog: Signal name -> table.
        upstream: Names that can be used as `source.NAME`.

    Raises:
        RequestError: The condition does not parse, names an unknown column, or is not about one
            record.
    """
    found: dict[str, Column] = {}
    for node in _walk(_parse(condition, where)):
        kind = node.get("class")
        if kind in ("SUBQUERY", "WINDOW", "STAR", "PARAMETER"):
            raise RequestError(
                f"{where}: {condition!r} has a {kind.lower()}; a rule is a condition on one "
                "record (no aggregates, windows or subqueries)"
            )
        if kind == "FUNCTION":
            _check_function(node["function_name"], condition, where)
        if kind == "COLUMN_REF":
            column = _column(node["column_names"], condition, where, catalog, upstream)
            found[column.sql] = column
    return tuple(found.values())


def _column(
    names: list[str],
    condition: str,
    where: str,
    catalog: Mapping[str, str],
    upstream: Sequence[str],
) -> Column:
    if len(names) == 2 and names[0] == "source":
        if names[1] in upstream:
            return Column("records", f"source.{names[1]}", f"source.{quoted(names[1])}")
        allowed = [f"source.{name}" for name in sorted(upstream)]
    elif len(names) == 1 and names[0] in catalog:
        return Column(catalog[names[0]], names[0], quoted(names[0]))
    else:
        allowed = [*sorted(catalog), "source.NAME"]
    name = ".".join(names)
    raise RequestError(
        f"{where}: {condition!r} reads {name!r}, which no table has.{nearest(name, allowed)} "
        f"Known: {', '.join(allowed) or 'none'}"
    )


def quoted(name: str) -> str:
    """A name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def _check_function(name: str, condition: str, where: str) -> None:
    """Refuses functions that see more than one record, or do not always give the same answer."""
    stability = _functions().get(name.lower())
    if stability == "CONSISTENT":
        return
    what = {
        None: "is not a DuckDB function on single values",
        "aggregate": "is an aggregate over many records",
    }.get(stability, "does not always give the same answer")
    raise RequestError(
        f"{where}: {condition!r} uses {name}(), which {what}; a rule is a condition on one record"
    )


@lru_cache(maxsize=1)
def _functions() -> dict[str, str]:
    """Each function's stability, or `aggregate`; VOLATILE if its forms differ.

    Forms on times with a zone say CONSISTENT_WITHIN_QUERY, as they depend on the session's zone,
    which `decide` sets. They do not count, or nobody could subtract. `age` reads the clock.
    """
    rows = sealed().execute(
        "SELECT lower(function_name), function_type, "
        "CASE lower(function_name) WHEN 'age' THEN 'VOLATILE' ELSE stability END "
        "FROM duckdb_functions() "
        "WHERE function_type IN ('scalar', 'aggregate') AND database_name = 'system' "
        "AND NOT regexp_matches(parameter_types::VARCHAR, 'TIMESTAMP WITH TIME ZONE|TIMESTAMPTZ')"
    )
    found: dict[str, str] = {}
    for name, kind, stability in rows.fetchall():
        value = "aggregate" if kind == "aggregate" else stability
        if found.get(name, value) != value:
            value = "aggregate" if "aggregate" in (found[name], value) else "VOLATILE"
        found[name] = value
    return found


@lru_cache(maxsize=1024)
def _serialized(condition: str) -> str:
    """DuckDB's parse tree of a condition in parentheses, as JSON."""
    query = "SELECT json_serialize_sql('SELECT (' || ? || '\n)')"
    rows = sealed().execute(query, [condition]).fetchall()
    return str(rows[0][0])


def _parse(condition: str, where: str) -> dict[str, Any]:
    """DuckDB's parse tree of one condition. Raises RequestError if it is none, or several."""
    parsed = json.loads(_serialized(condition))
    if parsed.get("error"):
        raise RequestError(f"{where}: {condition!r} is not valid SQL: {parsed['error_message']}")
    node = parsed["statements"][0]["node"] if len(parsed["statements"]) == 1 else {}
    columns = node.get("select_list", [])
    # A condition that closes the parenthesis early could append clauses of its own.
    clauses = ("where_clause", "group_expressions", "having", "qualify", "sample", "modifiers")
    alone = node.get("from_table", {}).get("type") == "EMPTY" and not any(
        node.get(clause) for clause in clauses
    )
    if len(columns) != 1 or not alone:
        raise RequestError(f"{where}: {condition!r} must be one SQL condition")
    return dict(columns[0])


def _walk(node: Any) -> Iterator[dict[str, Any]]:
    """Every node of a parse tree, the given one first."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from _walk(value)

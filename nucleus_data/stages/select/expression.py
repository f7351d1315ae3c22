"""Parses and checks SQL from a configuration: one expression on one record.

DuckDB parses the text. Nodes, functions and types that are not on a list (`allowed`) are refused.
The configured text itself never runs: what runs is the SQL that DuckDB generates from the checked
syntax tree.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import duckdb

from nucleus_data.config import nearest
from nucleus_data.errors import RequestError
from nucleus_data.printed import has_surrogate
from nucleus_data.sql import identifier
from nucleus_data.stages.select.allowed import DEPTH, Node, check, shown, walk
from nucleus_data.stages.select.database import sealed

LETTERS = 20_000  # most characters of an expression
DIRECTIONS = {"ORDER_DEFAULT": "", "ASCENDING": " ASC", "DESCENDING": " DESC"}
NULLS = {"ORDER_DEFAULT": "", "NULLS FIRST": " NULLS FIRST", "NULLS LAST": " NULLS LAST"}
# Clauses of a query, none of which may be there.
CLAUSES = ("where_clause", "group_expressions", "having", "qualify", "sample", "group_sets")


@dataclass(frozen=True)
class Column:
    """A column that an expression reads: its table, its name, and how it is written in SQL."""

    table: str
    name: str
    sql: str


@dataclass(frozen=True)
class Expression:
    """A checked expression.

    Attributes:
        text: The text as configured, for messages.
        value: The SQL that DuckDB generates from the parsed text.
        columns: The columns that it reads, each once.
        direction: SQL for the direction of an item of an order; otherwise empty.
    """

    text: str
    value: str
    columns: tuple[Column, ...]
    direction: str = ""

    @property
    def sql(self) -> str:
        """The value, with its direction."""
        return self.value + self.direction


@dataclass(frozen=True)
class Names:
    """The names that an expression may use.

    Attributes:
        catalog: Signal name -> table.
        upstream: Names of upstream columns, which are used as `source.NAME`.
    """

    catalog: Mapping[str, str]
    upstream: Sequence[str] = ()


def parse_condition(text: str, where: str, names: Names) -> Expression:
    """Parses an expression on one record, such as a condition or a score.

    Args:
        text: SQL.
        where: Configuration key, for messages.
        names: The names that it may use.

    Raises:
        RequestError: The text is not one expression on one record, names an unknown column, or uses
            a function or type that is not allowed.
    """
    _, written, read = _parsed(text, where, order=False)
    return Expression(text, written, _columns(read, text, where, names))


def parse_order(text: str, where: str, names: Names) -> Expression:
    """Parses one item of an order: an expression and a direction (`bytes desc nulls last`).

    Args:
        text: SQL.
        where: Configuration key, for messages.
        names: The names that it may use.

    Raises:
        RequestError: As `parse_condition`; or the item reads no column, so that it orders nothing.
    """
    query, written, read = _parsed(text, where, order=True)
    (item,) = query["modifiers"][0]["orders"]
    columns = _columns(read, text, where, names)
    if not columns:
        raise RequestError(f"{where}: {shown(text)} reads no column, so it orders nothing")
    return Expression(text, written, columns, DIRECTIONS[item["type"]] + NULLS[item["null_order"]])


@lru_cache(maxsize=1024)
def _parsed(text: str, where: str, order: bool) -> tuple[Node, str, tuple[tuple[str, ...], ...]]:
    """Parses and checks an expression.

    Returns:
        The tree of the query that has the expression, the SQL that DuckDB generates for the
        expression, and the names of the columns that it reads, each split at the dots.
    """
    if len(text) > LETTERS:
        raise RequestError(f"{where}: has {len(text):,} characters; the limit is {LETTERS:,}")
    if "\0" in text or has_surrogate(text):
        raise RequestError(f"{where}: {shown(text)} has an invalid character (NUL or a surrogate)")
    connection = sealed()
    query = _query(connection, text, where, order)
    check(_expression(query), text, where)
    written = _written(connection, _expression(query))
    # The generated SQL is what runs, so it must mean what was checked: parsed again, it must give
    # the same tree, or, since DuckDB rephrases some expressions, another tree that is allowed too
    # and that gives the same SQL.
    again = _expression(_query(connection, written, where, order=False))
    nodes = (node for node, _ in walk(_expression(query)))
    read = tuple(tuple(node["column_names"]) for node in nodes if node["class"] == "COLUMN_REF")
    if _placeless(again) == _placeless(_expression(query)):
        return query, written, read
    check(again, text, where)
    if _written(connection, again) != written:
        raise RequestError(f"{where}: {shown(text)} can be read in several ways; simplify it")
    return query, written, read


def _placeless(tree: Any) -> Any:
    """Returns a tree without its nodes' positions in the text."""
    if isinstance(tree, dict):
        kept = (k for k in tree if not k.startswith("query_location"))
        return {k: _placeless(tree[k]) for k in kept}
    return [_placeless(value) for value in tree] if isinstance(tree, list) else tree


def _expression(query: Node) -> Node:
    """Returns the one expression of a query: its column, or what it orders by."""
    if query["modifiers"]:
        return dict(query["modifiers"][0]["orders"][0]["expression"])
    return dict(query["select_list"][0])


def _query(connection: duckdb.DuckDBPyConnection, text: str, where: str, order: bool) -> Node:
    """Returns DuckDB's tree of `SELECT (text)`, or of `SELECT 1 ORDER BY text` for an order.

    Raises:
        RequestError: The text does not parse, or adds clauses or statements of its own.
    """
    # The newline ends a comment at the end of the text.
    query = f"SELECT 1 ORDER BY {text}\n" if order else f"SELECT ({text}\n)"
    rows = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchall()
    try:
        parsed = json.loads(str(rows[0][0]))
    except RecursionError:
        raise RequestError(f"{where}: nested more than {DEPTH} levels deep") from None
    kind = "SQL order, without a comma" if order else "SQL condition"
    failed = str(parsed.get("error_message", "")) if parsed.get("error") else ""
    if failed and not failed.startswith("Only SELECT statements"):
        what = "not a valid order" if order else "not valid SQL"
        raise RequestError(f"{where}: {shown(text)} is {what}: {failed}")
    statements = parsed.get("statements", ())
    node: Node = statements[0]["node"] if len(statements) == 1 else {}
    modifiers = node.get("modifiers", [])
    # A condition that closes the parenthesis early could append clauses of its own.
    alone = (
        node.get("from_table", {}).get("type") == "EMPTY"
        and len(node.get("select_list", [])) == 1
        and not any(node.get(clause) for clause in CLAUSES)
        and not node["cte_map"]["map"]
    )
    if order:
        alone = alone and [m["type"] for m in modifiers] == ["ORDER_MODIFIER"]
        alone = alone and len(modifiers[0]["orders"]) == 1
    # DuckDB parses empty parentheses as a row without values.
    alone = alone and (order or not _is_nothing(node["select_list"][0]))
    if not alone or (modifiers and not order):
        raise RequestError(f"{where}: {shown(text)} must be a single {kind}")
    return node


def _is_nothing(expression: Node) -> bool:
    return expression.get("function_name") == "row" and not expression.get("arguments")


@lru_cache(maxsize=1)
def _frame() -> Node:
    """Returns the tree of `SELECT 1`, into which any expression can be inserted."""
    rows = sealed().execute("SELECT json_serialize_sql('SELECT 1')").fetchall()
    return dict(json.loads(str(rows[0][0])))


def _written(connection: duckdb.DuckDBPyConnection, expression: Node) -> str:
    """Generates SQL from the tree of an expression."""
    frame = json.loads(json.dumps(_frame()))
    frame["statements"][0]["node"]["select_list"] = [expression]
    rows = connection.execute("SELECT json_deserialize_sql(?::JSON)", [json.dumps(frame)])
    return str(rows.fetchall()[0][0]).removeprefix("SELECT ")


def _columns(
    read: Iterable[tuple[str, ...]], text: str, where: str, names: Names
) -> tuple[Column, ...]:
    """Returns the columns that are read, each once. Raises RequestError for an unknown one."""
    columns = (_column(parts, text, where, names) for parts in read)
    return tuple({column.sql: column for column in columns}.values())


def _column(parts: tuple[str, ...], text: str, where: str, names: Names) -> Column:
    """Looks up a column by its name, split at the dots. Raises RequestError for an unknown one."""
    if len(parts) == 2 and parts[0] == "source":
        if parts[1] in names.upstream:
            return Column("records", f"source.{parts[1]}", f"source.{identifier(parts[1])}")
        allowed = [f"source.{name}" for name in sorted(names.upstream)]
    elif len(parts) == 1 and parts[0] in names.catalog:
        return Column(names.catalog[parts[0]], parts[0], identifier(parts[0]))
    else:
        allowed = [*sorted(names.catalog), "source.NAME"]
    name = ".".join(parts)
    raise RequestError(
        f"{where}: {shown(text)} reads {name!r}, which is not in any table."
        f"{nearest(name, allowed)} Available: {', '.join(allowed) or 'none'}"
    )

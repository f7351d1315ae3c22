"""SQL of a configuration: one expression on one record, parsed, looked through, and written anew.

DuckDB parses the text; what is not on a list of kinds, functions and types (`allowed`) is refused
by its name. What runs is what DuckDB writes from the tree that was looked through, never the text.
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
from nucleus_data.stages.select.allowed import DEPTH, Node, check, shown, walk
from nucleus_data.stages.select.database import sealed

LETTERS = 20_000  # of an expression
DIRECTIONS = {"ORDER_DEFAULT": "", "ASCENDING": " ASC", "DESCENDING": " DESC"}
NULLS = {"ORDER_DEFAULT": "", "NULLS FIRST": " NULLS FIRST", "NULLS LAST": " NULLS LAST"}
# What a query may have beside its columns.
CLAUSES = ("where_clause", "group_expressions", "having", "qualify", "sample", "group_sets")


@dataclass(frozen=True)
class Column:
    """A column that an expression reads: where it comes from, and how it is written in SQL."""

    table: str
    name: str
    sql: str


@dataclass(frozen=True)
class Expression:
    """A checked expression.

    Attributes:
        text: As it was written, for people.
        value: As DuckDB writes what was parsed.
        columns: What it reads, each once.
        direction: Of an order, as SQL.
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
    """What an expression may name.

    Attributes:
        catalog: Signal name -> table.
        upstream: Names that can be used as `source.NAME`.
    """

    catalog: Mapping[str, str]
    upstream: Sequence[str] = ()


def parse_condition(text: str, where: str, names: Names) -> Expression:
    """A value of one record: a condition, a score.

    Args:
        text: SQL.
        where: Configuration key, for messages.
        names: What it may read.

    Raises:
        RequestError: It is not one expression on one record, names an unknown column, or uses what
            is not allowed.
    """
    _, written, read = _parsed(text, where, order=False)
    return Expression(text, written, _columns(read, text, where, names))


def parse_order(text: str, where: str, names: Names) -> Expression:
    """One item of an order: a value of one record, and its direction (`bytes desc nulls last`).

    Raises:
        RequestError: As of `parse_condition`; or it reads no column, so that it orders nothing.
    """
    query, written, read = _parsed(text, where, order=True)
    (item,) = query["modifiers"][0]["orders"]
    columns = _columns(read, text, where, names)
    if not columns:
        raise RequestError(f"{where}: {shown(text)} reads no column, so it orders nothing")
    return Expression(text, written, columns, DIRECTIONS[item["type"]] + NULLS[item["null_order"]])


def quoted(name: str) -> str:
    """A name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


@lru_cache(maxsize=1024)
def _parsed(text: str, where: str, order: bool) -> tuple[Node, str, tuple[tuple[str, ...], ...]]:
    """A query with one expression: its tree; the expression as DuckDB writes it; names it reads."""
    if len(text) > LETTERS:
        raise RequestError(f"{where}: has {len(text):,} letters; allowed are {LETTERS:,}")
    if "\0" in text or has_surrogate(text):
        raise RequestError(f"{where}: {shown(text)} has a letter that is none (NUL or a surrogate)")
    connection = sealed()
    query = _query(connection, text, where, order)
    check(_expression(query), text, where)
    written = _written(connection, _expression(query))
    # What runs is what was looked through: parsed again, it is the same tree; or one that is
    # allowed and written the same, as DuckDB writes some things in other words.
    again = _expression(_query(connection, written, where, order=False))
    nodes = (node for node, _ in walk(_expression(query)))
    read = tuple(tuple(node["column_names"]) for node in nodes if node["class"] == "COLUMN_REF")
    if _placeless(again) == _placeless(_expression(query)):
        return query, written, read
    check(again, text, where)
    if _written(connection, again) != written:
        raise RequestError(
            f"{where}: {shown(text)} can't be read in one way only; write it simpler"
        )
    return query, written, read


def _placeless(tree: Any) -> Any:
    """A tree without where in the text each of its nodes stands."""
    if isinstance(tree, dict):
        kept = (k for k in tree if not k.startswith("query_location"))
        return {k: _placeless(tree[k]) for k in kept}
    return [_placeless(value) for value in tree] if isinstance(tree, list) else tree


def _expression(query: Node) -> Node:
    """The one expression of a query: its column, or what it orders by."""
    if query["modifiers"]:
        return dict(query["modifiers"][0]["orders"][0]["expression"])
    return dict(query["select_list"][0])


def _query(connection: duckdb.DuckDBPyConnection, text: str, where: str, order: bool) -> Node:
    """DuckDB's tree of `SELECT (text)` or of `ORDER BY text`, which is that alone.

    Raises:
        RequestError: The text does not parse, or brings clauses or statements of its own.
    """
    # A comment at the end ends with the line.
    query = f"SELECT 1 ORDER BY {text}\n" if order else f"SELECT ({text}\n)"
    rows = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchall()
    try:
        parsed = json.loads(str(rows[0][0]))
    except RecursionError:
        raise RequestError(f"{where}: is nested more than {DEPTH} deep") from None
    kind = "SQL order, without a comma" if order else "SQL condition"
    failed = str(parsed.get("error_message", "")) if parsed.get("error") else ""
    if failed and not failed.startswith("Only SELECT statements"):
        what = "no order" if order else "not valid SQL"
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
    # Nothing in parentheses is a row of no values to DuckDB.
    alone = alone and (order or not _is_nothing(node["select_list"][0]))
    if not alone or (modifiers and not order):
        raise RequestError(f"{where}: {shown(text)} must be one {kind}")
    return node


def _is_nothing(expression: Node) -> bool:
    return expression.get("function_name") == "row" and not expression.get("arguments")


@lru_cache(maxsize=1)
def _frame() -> Node:
    """The tree of `SELECT 1`, which any expression can be put into."""
    rows = sealed().execute("SELECT json_serialize_sql('SELECT 1')").fetchall()
    return dict(json.loads(str(rows[0][0])))


def _written(connection: duckdb.DuckDBPyConnection, expression: Node) -> str:
    """SQL of an expression's tree."""
    frame = json.loads(json.dumps(_frame()))
    frame["statements"][0]["node"]["select_list"] = [expression]
    rows = connection.execute("SELECT json_deserialize_sql(?::JSON)", [json.dumps(frame)])
    return str(rows.fetchall()[0][0]).removeprefix("SELECT ")


def _columns(
    read: Iterable[tuple[str, ...]], text: str, where: str, names: Names
) -> tuple[Column, ...]:
    """The columns that are read, each once. Raises RequestError for one that is not known."""
    found = (_column(parts, text, where, names) for parts in read)
    return tuple({column.sql: column for column in found}.values())


def _column(parts: tuple[str, ...], text: str, where: str, names: Names) -> Column:
    if len(parts) == 2 and parts[0] == "source":
        if parts[1] in names.upstream:
            return Column("records", f"source.{parts[1]}", f"source.{quoted(parts[1])}")
        allowed = [f"source.{name}" for name in sorted(names.upstream)]
    elif len(parts) == 1 and parts[0] in names.catalog:
        return Column(names.catalog[parts[0]], parts[0], quoted(parts[0]))
    else:
        allowed = [*sorted(names.catalog), "source.NAME"]
    name = ".".join(parts)
    raise RequestError(
        f"{where}: {shown(text)} reads {name!r}, which no table has.{nearest(name, allowed)} "
        f"Known: {', '.join(allowed) or 'none'}"
    )

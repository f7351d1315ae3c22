"""SQL of a configuration: one expression on one record, parsed, looked through, and written anew.

DuckDB parses the text; what is not on a list of kinds, functions and types is refused by its name.
What runs is what DuckDB writes from the tree that was looked through, never the text itself. No
expression makes more than `GROWTH` times as much as it is given: each repeat is a number that is
written out, each replacement a text that is.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from nucleus_data.config import nearest
from nucleus_data.errors import RequestError
from nucleus_data.stages.select.database import sealed
from nucleus_data.stages.select.functions import (
    GROWS,
    PLAIN,
    REPEATS,
    REPLACES,
    TYPES,
)

LETTERS = 20_000  # of an expression
GROWTH = 10_000
DEPTH = 60
KINDS = {
    *("COLUMN_REF", "CONSTANT", "FUNCTION", "OPERATOR", "COMPARISON", "CONJUNCTION", "BETWEEN"),
    *("CASE", "CAST", "TYPE", "COLLATE"),
}
OPERATORS = {
    *("OPERATOR_NOT", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "OPERATOR_COALESCE"),
    *("OPERATOR_TRY", "COMPARE_IN", "COMPARE_NOT_IN"),
    *("ARRAY_EXTRACT", "ARRAY_SLICE", "STRUCT_EXTRACT"),
}
DIRECTIONS = {"ORDER_DEFAULT": "", "ASCENDING": " ASC", "DESCENDING": " DESC"}
NULLS = {"ORDER_DEFAULT": "", "NULLS FIRST": " NULLS FIRST", "NULLS LAST": " NULLS LAST"}
# What a query may have beside its columns.
CLAUSES = ("where_clause", "group_expressions", "having", "qualify", "sample", "group_sets")

Node = dict[str, Any]


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
    query, written = _parsed(text, where, order=False)
    return Expression(text, written, _columns(_expression(query), text, where, names))


def parse_order(text: str, where: str, names: Names) -> Expression:
    """One item of an order: a value of one record, and its direction (`bytes desc nulls last`).

    Raises:
        RequestError: As of `parse_condition`; or it reads no column, so that it orders nothing.
    """
    query, written = _parsed(text, where, order=True)
    (item,) = query["modifiers"][0]["orders"]
    columns = _columns(item["expression"], text, where, names)
    if not columns:
        raise RequestError(f"{where}: {_shown(text)} reads no column, so it orders nothing")
    return Expression(text, written, columns, DIRECTIONS[item["type"]] + NULLS[item["null_order"]])


def quoted(name: str) -> str:
    """A name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def _shown(text: str) -> str:
    """A text in quotes, for messages; of a long one the beginning."""
    return repr(text) if len(text) <= 200 else f"{text[:100]!r}..."


@lru_cache(maxsize=1024)
def _parsed(text: str, where: str, order: bool) -> tuple[Node, str]:
    """The tree of a query with one expression, and the expression as DuckDB writes it."""
    if len(text) > LETTERS:
        raise RequestError(f"{where}: has {len(text):,} letters; allowed are {LETTERS:,}")
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise RequestError(
            f"{where}: {_shown(text)} has a letter that is none (NUL or a surrogate)"
        )
    query = _query(text, where, order)
    _check(_expression(query), text, where)
    written = _written(_expression(query))
    # What runs is what was looked through: parsed again, it is the same tree; or one that is
    # allowed and written the same, as DuckDB writes some things in other words.
    again = _expression(_query(written, where, order=False))
    if _placeless(again) == _placeless(_expression(query)):
        return query, written
    _check(again, text, where)
    if _written(again) != written:
        raise RequestError(
            f"{where}: {_shown(text)} can't be read in one way only; write it simpler"
        )
    return query, written


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


def _query(text: str, where: str, order: bool) -> Node:
    """DuckDB's tree of `SELECT (text)` or of `ORDER BY text`, which is that alone.

    Raises:
        RequestError: The text does not parse, or brings clauses or statements of its own.
    """
    # A comment at the end ends with the line.
    query = f"SELECT 1 ORDER BY {text}\n" if order else f"SELECT ({text}\n)"
    rows = sealed().execute("SELECT json_serialize_sql(?)", [query]).fetchall()
    try:
        parsed = json.loads(str(rows[0][0]))
    except RecursionError:
        raise RequestError(f"{where}: is nested more than {DEPTH} deep") from None
    kind = "SQL order, without a comma" if order else "SQL condition"
    failed = str(parsed.get("error_message", "")) if parsed.get("error") else ""
    if failed and not failed.startswith("Only SELECT statements"):
        what = "no order" if order else "not valid SQL"
        raise RequestError(f"{where}: {_shown(text)} is {what}: {failed}")
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
    if not alone or (modifiers and not order):
        raise RequestError(f"{where}: {_shown(text)} must be one {kind}")
    return node


@lru_cache(maxsize=1)
def _frame() -> Node:
    """The tree of `SELECT 1`, which any expression can be put into."""
    rows = sealed().execute("SELECT json_serialize_sql('SELECT 1')").fetchall()
    return dict(json.loads(str(rows[0][0])))


def _written(expression: Node) -> str:
    """SQL of an expression's tree."""
    frame = json.loads(json.dumps(_frame()))
    frame["statements"][0]["node"]["select_list"] = [expression]
    rows = sealed().execute("SELECT json_deserialize_sql(?::JSON)", [json.dumps(frame)]).fetchall()
    return str(rows[0][0]).removeprefix("SELECT ")


def _check(tree: Node, text: str, where: str) -> None:
    """Raises RequestError for what is not allowed in a tree."""

    def refuse(what: str) -> RequestError:
        return RequestError(f"{where}: {_shown(text)} {what}")

    for node, depth in _walk(tree):
        if depth > DEPTH:
            raise RequestError(f"{where}: is nested more than {DEPTH} deep")
        kind = node["class"]
        if kind not in KINDS or (kind == "OPERATOR" and node["type"] not in OPERATORS):
            name = str(node["type"] if kind == "OPERATOR" else kind).replace("_", " ").lower()
            raise refuse(
                f"has a {name}; a rule is a condition on one record (no aggregates, windows or "
                "subqueries)"
            )
        if kind == "TYPE" and (
            node["type_name"].lower() not in TYPES or node["schema"] or node["catalog"]
        ):
            known = nearest(node["type_name"].lower(), sorted(TYPES))
            raise refuse(f"casts to {node['type_name']}, which is not allowed.{known}")
        if kind == "FUNCTION":
            _check_function(node, refuse)
    if (growth := _growth(tree, refuse)) > GROWTH:
        raise refuse(f"makes up to {growth:,} times as much as it is given; allowed is {GROWTH:,}")


def _columns(tree: Node, text: str, where: str, names: Names) -> tuple[Column, ...]:
    """The columns that a tree reads, each once. Raises RequestError for one that is not known."""
    read = (n["column_names"] for n, _ in _walk(tree) if n["class"] == "COLUMN_REF")
    found = (_column(parts, text, where, names) for parts in read)
    return tuple({column.sql: column for column in found}.values())


def _column(parts: list[str], text: str, where: str, names: Names) -> Column:
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
        f"{where}: {_shown(text)} reads {name!r}, which no table has.{nearest(name, allowed)} "
        f"Known: {', '.join(allowed) or 'none'}"
    )


def _check_function(node: Node, refuse: Any) -> None:
    """Refuses what is not on the list, and each clause of an aggregate."""
    name = node["function_name"].lower()
    special = node["distinct"] or node["filter"] or node["order_bys"]["orders"]
    if special or node["schema"] or node["catalog"]:
        raise refuse(f"uses {name}() as no function on single values is used")
    if name in PLAIN or name in REPEATS or name in REPLACES:
        return
    what = {
        None: "is not a DuckDB function on single values",
        "aggregate": "is an aggregate over many records",
        "CONSISTENT": "is not allowed in a configuration",
    }.get(_functions().get(name), "does not always give the same answer")
    all_names = sorted({*PLAIN, *REPEATS, *REPLACES})
    known = "" if name in _functions() else nearest(name, all_names)
    raise refuse(f"uses {name}(), which {what}; a rule is a condition on one record.{known}")


def _growth(node: Node, refuse: Any) -> int:
    """How many times as much as it is given an expression makes, at most."""
    inside = max((_growth(child, refuse) for child in _children(node)), default=1)
    if node["class"] != "FUNCTION":
        return inside
    name = node["function_name"].lower()
    arguments = [a["expression"] for a in node["arguments"]]
    if name in REPEATS and len(arguments) > REPEATS[name]:
        count = arguments[REPEATS[name]]
        if not (
            count["class"] == "CONSTANT"
            and count["literal"]["kind"] == "INTEGER"
            and len(count["literal"]["text"]) <= len(str(GROWTH))  # Python reads no 5,000 digits
            and int(count["literal"]["text"]) <= GROWTH
        ):
            raise refuse(f"has {name}() with a count that is not a number up to {GROWTH:,}")
        return inside * max(1, int(count["literal"]["text"]))
    if name in REPLACES and len(arguments) > REPLACES[name]:
        text = arguments[REPLACES[name]]
        if text["class"] != "CONSTANT" or text["literal"]["kind"] != "STRING":
            raise refuse(f"has {name}() with a replacement that is not a text in quotes")
        return inside * max(1, len(text["literal"]["text"]))
    return inside * GROWS.get(name, 1)


def _children(node: Any) -> Iterator[Node]:
    """The expressions right inside one."""
    for value in node.values() if isinstance(node, dict) else node:
        if isinstance(value, dict) and "class" in value:
            yield value
        elif isinstance(value, dict | list):
            yield from _children(value)


def _walk(tree: Node) -> Iterator[tuple[Node, int]]:
    """Every expression of a tree with its depth, the whole first."""
    todo = [(tree, 0)]
    while todo:
        node, depth = todo.pop()
        yield node, depth
        todo += [(child, depth + 1) for child in reversed(list(_children(node)))]


@lru_cache(maxsize=1)
def _functions() -> dict[str, str]:
    """Each function's stability, or `aggregate`; VOLATILE if its forms differ.

    `age` reads the clock.
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

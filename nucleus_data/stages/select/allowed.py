"""Checks that an expression of a configuration has only allowed nodes, in DuckDB's syntax tree.

The check also bounds the size of the result: no expression may make more than `GROWTH` times as
much data as it is given. For that, the counts of repeating functions and the replacements of
replacing functions must be literals.
"""

from collections.abc import Iterator
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

Node = dict[str, Any]


def shown(text: str) -> str:
    """Returns a text in quotes for messages; long texts are cut."""
    return repr(text) if len(text) <= 200 else f"{text[:100]!r}..."


def check(tree: Node, text: str, where: str) -> None:
    """Checks the tree of an expression.

    Args:
        tree: DuckDB's syntax tree of the expression.
        text: The expression, for messages.
        where: Its configuration key, for messages.

    Raises:
        RequestError: The tree has a node, type or function that is not allowed, is nested more than
            `DEPTH` deep, or could grow by more than `GROWTH`.
    """

    def refuse(what: str) -> RequestError:
        return RequestError(f"{where}: {shown(text)} {what}")

    for node, depth in walk(tree):
        if depth > DEPTH:
            raise RequestError(f"{where}: nested more than {DEPTH} levels deep")
        kind = node["class"]
        if kind not in KINDS or (kind == "OPERATOR" and node["type"] not in OPERATORS):
            name = str(node["type"] if kind == "OPERATOR" else kind).replace("_", " ").lower()
            raise refuse(
                f"contains a {name}; a rule is a condition on one record (no aggregates, windows "
                "or subqueries)"
            )
        if kind == "TYPE" and (
            node["type_name"].lower() not in TYPES or node["schema"] or node["catalog"]
        ):
            known = nearest(node["type_name"].lower(), sorted(TYPES))
            raise refuse(f"casts to {node['type_name']}, which is not allowed.{known}")
        if kind == "FUNCTION":
            _check_function(node, refuse)
    if (growth := _growth(tree, refuse)) > GROWTH:
        raise refuse(
            f"makes up to {growth:,} times as much as it is given; the limit is {GROWTH:,}"
        )


def _check_function(node: Node, refuse: Any) -> None:
    """Refuses functions that are not on the lists, and clauses of aggregates (DISTINCT, FILTER)."""
    name = node["function_name"].lower()
    special = node["distinct"] or node["filter"] or node["order_bys"]["orders"]
    if special or node["schema"] or node["catalog"]:
        raise refuse(f"uses {name}() with DISTINCT, FILTER, ORDER BY or a schema; none is allowed")
    if name in PLAIN or name in REPEATS or name in REPLACES:
        return
    what = {
        None: "is not a DuckDB function on single values",
        "aggregate": "is an aggregate over many records",
        "CONSISTENT": "is not allowed in a configuration",
    }.get(_functions().get(name), "does not always return the same result")
    all_names = sorted({*PLAIN, *REPEATS, *REPLACES})
    known = "" if name in _functions() else nearest(name, all_names)
    raise refuse(f"uses {name}(), which {what}; a rule is a condition on one record.{known}")


def _growth(node: Node, refuse: Any) -> int:
    """Returns an upper bound of the ratio of an expression's output size to its input size."""
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
            # Before `int`, as Python refuses to parse thousands of digits.
            and len(count["literal"]["text"]) <= len(str(GROWTH))
            and int(count["literal"]["text"]) <= GROWTH
        ):
            raise refuse(f"uses {name}() with a count that is not a number up to {GROWTH:,}")
        return inside * max(1, int(count["literal"]["text"]))
    if name in REPLACES and len(arguments) > REPLACES[name]:
        text = arguments[REPLACES[name]]
        if text["class"] != "CONSTANT" or text["literal"]["kind"] != "STRING":
            raise refuse(f"uses {name}() with a replacement that is not a text in quotes")
        return inside * max(1, len(text["literal"]["text"]))
    return inside * GROWS.get(name, 1)


def _children(node: Any) -> Iterator[Node]:
    """Yields the direct children of an expression."""
    for value in node.values() if isinstance(node, dict) else node:
        if isinstance(value, dict) and "class" in value:
            yield value
        elif isinstance(value, dict | list):
            yield from _children(value)


def walk(tree: Node) -> Iterator[tuple[Node, int]]:
    """Yields every expression of a tree with its depth, parents before children."""
    todo = [(tree, 0)]
    while todo:
        node, depth = todo.pop()
        yield node, depth
        todo += [(child, depth + 1) for child in reversed(list(_children(node)))]


@lru_cache(maxsize=1)
def _functions() -> dict[str, str]:
    """Returns DuckDB's functions: name -> stability, or `aggregate`.

    A function whose overloads differ in stability counts as VOLATILE, and so does `age`, which
    reads the clock.
    """
    rows = sealed().execute(
        "SELECT lower(function_name), function_type, "
        "CASE lower(function_name) WHEN 'age' THEN 'VOLATILE' ELSE stability END "
        "FROM duckdb_functions() "
        "WHERE function_type IN ('scalar', 'aggregate') AND database_name = 'system' "
        "AND NOT regexp_matches(parameter_types::VARCHAR, 'TIMESTAMP WITH TIME ZONE|TIMESTAMPTZ')"
    )
    functions: dict[str, str] = {}
    for name, kind, stability in rows.fetchall():
        value = "aggregate" if kind == "aggregate" else stability
        if functions.get(name, value) != value:
            value = "aggregate" if "aggregate" in (functions[name], value) else "VOLATILE"
        functions[name] = value
    return functions

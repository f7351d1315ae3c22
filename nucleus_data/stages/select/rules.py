"""Rules: named SQL conditions on one record's signals.

    rules:
      too_small: least(width, height) < 256
      low_contrast: {where: luma_std < 4, action: flag, reason: almost no contrast}

A condition sees one record: its signals by their names, and upstream columns as `source.NAME`.
Aggregates, windows, subqueries and functions whose result varies (`random()`, `now()`) are refused
(see `expression`), so that `select` can run shard by shard and always gives the same result. A
condition that is NULL, because a value is missing or NaN, does not reject the record; such cases
are counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import duckdb
import pyarrow as pa

from nucleus_data.errors import RequestError
from nucleus_data.stages.select.database import at_most, sealed
from nucleus_data.stages.select.expression import (
    Column,
    Expression,
    Names,
    parse_condition,
    parse_order,
)
from nucleus_data.stages.select.settings import Action, SelectSettings

TRIED_S = 10.0  # time limit in seconds, on one record


@dataclass(frozen=True)
class Rule:
    """A checked rule.

    Attributes:
        name, action, reason: As configured. Without a reason, it is the name with spaces for
            underscores.
        condition: The checked condition.
    """

    name: str
    action: Action
    reason: str
    condition: Expression

    @property
    def where(self) -> str:
        """The text of the condition, as configured."""
        return self.condition.text

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that the condition reads."""
        return self.condition.columns

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that must have a record's row before this rule can decide about it."""
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
            rule.action,
            rule.reason or name.replace("_", " "),
            parse_condition(rule.where, f"select.rules.{name}", Names(catalog, upstream)),
        )
        for name, rule in settings.rules.items()
    ]


def check_types(rules: Sequence[Rule], types: Mapping[tuple[str, str], pa.DataType]) -> None:
    """Tries every condition on a record of NULLs, to find wrong ones before any shard is read.

    Args:
        rules: Checked rules.
        types: (table, column) -> type, of all columns that they read.

    Raises:
        RequestError: A condition does not fit the types, or is not true or false.
    """
    tries = [
        Try(rule.condition.sql, rule.columns, f"select.rules.{rule.name}: {rule.where!r}")
        for rule in rules
    ]
    for (_, _, where), kind in zip(tries, tried(tries, types), strict=True):
        check_is_condition(kind, where)


def check_is_condition(kind: str, where: str) -> None:
    """Checks that an expression is a condition.

    Args:
        kind: The expression's type, as DuckDB writes it.
        where: What to call it in the error message.

    Raises:
        RequestError: The expression is not a Boolean, nor always NULL.
    """
    if kind not in ("BOOLEAN", '"NULL"', "NULL"):
        raise RequestError(
            f"{where} has type {kind.lower()}; it must be a condition, true or false "
            "(compare it with something)"
        )


def check_order(
    prefer: Sequence[str],
    catalog: Mapping[str, str],
    types: Mapping[tuple[str, str], pa.DataType],
) -> list[Expression]:
    """Parses the order of preference and tries it on a record of NULLs.

    Args:
        prefer: SQL, each string one item of an ORDER BY clause.
        catalog: Signal name -> table.
        types: (table, column) -> type, of all columns that it reads.

    Raises:
        RequestError: An item is not a valid order, or does not fit the types.
    """
    keys = [f"select.prefer[{i}]" for i in range(len(prefer))]
    names = Names(catalog)
    orders = [parse_order(text, key, names) for text, key in zip(prefer, keys, strict=True)]
    tried(
        [
            Try(order.value, order.columns, f"{key}: {order.text!r}")
            for order, key in zip(orders, keys, strict=True)
        ],
        types,
    )
    return orders


class Try(NamedTuple):
    """An expression to try: its SQL, the columns that it reads, and its name in messages."""

    sql: str
    columns: tuple[Column, ...]
    where: str


def tried(tries: Sequence[Try], types: Mapping[tuple[str, str], pa.DataType]) -> list[str]:
    """Runs checked expressions on a record of NULLs, and returns their types.

    They run as one query; if that fails, one by one, to find out which one fails.

    Args:
        tries: The expressions.
        types: (table, column) -> type, of all columns that they read.

    Returns:
        The type of each expression, as DuckDB writes it.

    Raises:
        RequestError: An expression does not fit the types, or takes longer than `TRIED_S`.
    """
    if not tries:
        return []
    columns = tuple(dict.fromkeys(column for attempt in tries for column in attempt.columns))
    known = tuple(types[column.table, column.name] for column in columns)
    try:
        return list(_kinds(tuple(attempt.sql for attempt in tries), columns, known))
    except duckdb.Error:
        return [_tried_alone(attempt, types) for attempt in tries]


@lru_cache(maxsize=256)  # a run tries the same expressions several times; errors are not cached
def _kinds(
    expressions: tuple[str, ...], columns: tuple[Column, ...], types: tuple[pa.DataType, ...]
) -> tuple[str, ...]:
    """Returns the types of expressions on columns of given types. Raises duckdb.Error."""
    connection = sealed()
    known = {(c.table, c.name): kind for c, kind in zip(columns, types, strict=True)}
    connection.register("record", record_of_nulls(columns, known))
    listed = ", ".join(f"({sql}) AS value_{i}" for i, sql in enumerate(expressions))
    with at_most(TRIED_S, connection):
        relation = connection.sql(f"SELECT {listed} FROM record")
        kinds = tuple(str(kind) for kind in relation.types)
        relation.fetchall()
    return kinds


def _tried_alone(attempt: Try, types: Mapping[tuple[str, str], pa.DataType]) -> str:
    """Runs one expression on a record of NULLs; returns its type. Raises RequestError."""
    sql, columns, where = attempt
    connection = sealed()
    connection.register("record", record_of_nulls(columns, types))
    try:
        with at_most(TRIED_S, connection):
            relation = connection.sql(f"SELECT {sql} FROM record")
            kind = str(relation.types[0])
            relation.fetchall()
    except duckdb.InterruptException:
        raise RequestError(f"{where} takes more than {TRIED_S:g} s on one record") from None
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise RequestError(f"{where} does not fit the types of its columns: {reason}") from None
    return kind


def record_of_nulls(
    columns: Sequence[Column], types: Mapping[tuple[str, str], pa.DataType]
) -> pa.Table:
    """Returns one record as a condition sees it, with NULL in all columns."""
    signals = [c for c in columns if c.table != "records"]
    upstream = [c for c in columns if c.table == "records"]
    fields = [(c.name, types[c.table, c.name]) for c in signals]
    inner = [(c.name.removeprefix("source."), types[c.table, c.name]) for c in upstream]
    fields += [("source", pa.struct(inner))] if inner else []
    schema = pa.schema(fields or [("nothing", pa.null())])
    # Not `Table.from_pylist`: it imports pandas, which takes a quarter of a second.
    return pa.Table.from_arrays([pa.nulls(1, field.type) for field in schema], schema=schema)

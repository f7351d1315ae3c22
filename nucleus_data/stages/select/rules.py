"""Rules: named SQL conditions on one record's signals.

    rules:
      too_small: least(width, height) < 256
      low_contrast: {where: luma_std < 4, action: flag, reason: almost no contrast}

A condition sees one record: its signals by their names, and upstream columns as `source.NAME`.
Aggregates, windows, subqueries and functions that do not always give the same answer (`random()`,
`now()`) are refused (`expression`), so `select` can run shard by shard and come out the same every
time. A condition that is NULL, because a value is missing or not a number (NaN), does not reject;
it is counted.
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

TRIED_S = 10.0  # on one record


@dataclass(frozen=True)
class Rule:
    """A checked rule.

    Attributes:
        name, action, reason: As configured; without a reason, the name in words.
        condition: What is run.
    """

    name: str
    action: Action
    reason: str
    condition: Expression

    @property
    def where(self) -> str:
        """The condition as it was written, for people."""
        return self.condition.text

    @property
    def columns(self) -> tuple[Column, ...]:
        """What the condition reads."""
        return self.condition.columns

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
            rule.action,
            rule.reason or name.replace("_", " "),
            parse_condition(rule.where, f"select.rules.{name}", Names(catalog, upstream)),
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
    tries = [
        Try(rule.condition.sql, rule.columns, f"select.rules.{rule.name}: {rule.where!r}")
        for rule in rules
    ]
    for (_, _, where), kind in zip(tries, tried(tries, types), strict=True):
        check_is_condition(kind, where)


def check_is_condition(kind: str, where: str) -> None:
    """Refuses an expression that is no condition.

    Args:
        kind: Its type, as DuckDB writes it.
        where: What a message calls it.

    Raises:
        RequestError: It is neither true nor false.
    """
    if kind not in ("BOOLEAN", '"NULL"', "NULL"):
        raise RequestError(
            f"{where} is {kind.lower()}; a rule is a condition, true or false "
            "(compare it with something)"
        )


def check_order(
    prefer: Sequence[str],
    catalog: Mapping[str, str],
    types: Mapping[tuple[str, str], pa.DataType],
) -> list[Expression]:
    """Parses the order of preference and tries it on a record of NULLs.

    Args:
        prefer: SQL, one item of ORDER BY each.
        catalog: Signal name -> table.
        types: (table, column) -> type, of all columns that it reads.

    Raises:
        RequestError: It is no order, or does not fit the types.
    """
    keys = [f"select.prefer[{i}]" for i in range(len(prefer))]
    names = Names(catalog)
    found = [parse_order(text, key, names) for text, key in zip(prefer, keys, strict=True)]
    tried(
        [
            Try(order.value, order.columns, f"{key}: {order.text!r}")
            for order, key in zip(found, keys, strict=True)
        ],
        types,
    )
    return found


class Try(NamedTuple):
    """A checked expression that is tried, and what a message calls it."""

    sql: str
    columns: tuple[Column, ...]
    where: str


def tried(tries: Sequence[Try], types: Mapping[tuple[str, str], pa.DataType]) -> list[str]:
    """The types of checked expressions, which are run on a record of which nothing is known.

    They are run as one query; if that fails, one by one, to say which it is.

    Raises:
        RequestError: One does not fit the types, or takes too long.
    """
    if not tries:
        return []
    columns = tuple(dict.fromkeys(column for one in tries for column in one.columns))
    known = tuple(types[column.table, column.name] for column in columns)
    try:
        return list(_kinds(tuple(one.sql for one in tries), columns, known))
    except duckdb.Error:
        return [_tried_alone(one, types) for one in tries]


@lru_cache(maxsize=256)  # what did not fail; a run asks for the same several times
def _kinds(
    expressions: tuple[str, ...], columns: tuple[Column, ...], types: tuple[pa.DataType, ...]
) -> tuple[str, ...]:
    """The types of expressions on columns of these types. Raises duckdb.Error if one fails."""
    connection = sealed()
    known = {(c.table, c.name): kind for c, kind in zip(columns, types, strict=True)}
    connection.register("record", record_of_nulls(columns, known))
    listed = ", ".join(f"({sql}) AS value_{i}" for i, sql in enumerate(expressions))
    with at_most(TRIED_S, connection):
        relation = connection.sql(f"SELECT {listed} FROM record")
        kinds = tuple(str(kind) for kind in relation.types)
        relation.fetchall()
    return kinds


def _tried_alone(one: Try, types: Mapping[tuple[str, str], pa.DataType]) -> str:
    sql, columns, where = one
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
        raise RequestError(f"{where} does not fit its columns: {reason}") from None
    return kind


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
    # Table.from_pylist would import pandas, for a quarter of a second.
    return pa.Table.from_arrays([pa.nulls(1, field.type) for field in schema], schema=schema)

"""Conditions of other stages: SQL on one record's signals, checked and evaluated like rules.

Examples are `caption.variants.NAME.where` and `nucleus retry caption --where`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from nucleus_data.sql import identifier
from nucleus_data.stages.select.database import at_most, sealed
from nucleus_data.stages.select.expression import Expression, Names, parse_condition
from nucleus_data.stages.select.judge import JUDGED_S, failing, without_nan
from nucleus_data.stages.select.rules import Try, check_is_condition, tried


@dataclass(frozen=True)
class RecordCondition:
    """A checked condition; implements `nucleus_data.stage.Condition`.

    Attributes:
        key: The setting or option that has it, for messages.
        expression: The checked expression.
    """

    key: str
    expression: Expression

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads, as `table:column`."""
        return tuple(f"{column.table}:{column.name}" for column in self.expression.columns)

    def answers(self, columns: pa.Table) -> pa.ChunkedArray:
        """Evaluates the condition on records: true, false or NULL for each.

        Args:
            columns: The columns that it reads, one row per record. NaN counts as NULL.

        Raises:
            RequestError: The condition fails on a record, or takes longer than `JUDGED_S`.
        """
        given = {"_at": pa.array(np.arange(columns.num_rows))}
        for path, column in zip(self.columns, self.expression.columns, strict=True):
            given[column.name] = without_nan(columns.column(path))
        upstream = [c.name for c in self.expression.columns if c.table == "records"]
        fields = ", ".join(
            f"{identifier(name.removeprefix('source.'))} := {identifier(name)}" for name in upstream
        )
        source = f", struct_pack({fields}) AS source" if fields else ""
        connection = sealed()
        connection.register("given", pa.table(given))
        try:
            with at_most(JUDGED_S, connection):
                answered: pa.Table = connection.sql(
                    f"SELECT CAST(({self.expression.sql}) AS BOOLEAN) AS answer "
                    f"FROM (SELECT *{source} FROM given) ORDER BY _at"
                ).to_arrow_table()
        except duckdb.Error as error:
            raise failing(connection, {self.key: self.expression}, source) or error from None
        finally:
            connection.unregister("given")
        return answered.column("answer")


def check_condition(
    text: str,
    key: str,
    catalog: Mapping[str, str],
    signals: Mapping[tuple[str, str], pa.DataType],
    upstream: Mapping[str, pa.DataType] | None,
) -> RecordCondition:
    """Parses a condition, and tries it on a record of NULLs.

    Args:
        text: SQL.
        key: The setting or option that has it, for messages.
        catalog: Signal name -> table.
        signals: (table, signal) -> type.
        upstream: `source.NAME` -> type, of the corpus's upstream columns; None without a corpus. A
            condition that reads them is then only parsed, not tried.

    Raises:
        RequestError: The text is not one condition on one record, names an unknown column, or does
            not fit its columns.
    """
    names = AnyName() if upstream is None else [n.removeprefix("source.") for n in upstream]
    expression = parse_condition(text, key, Names(catalog, names))
    types = {**signals, **{("records", name): kind for name, kind in (upstream or {}).items()}}
    where = f"{key}: {text!r}"
    if upstream is not None or all(column.table != "records" for column in expression.columns):
        (kind,) = tried([Try(expression.sql, expression.columns, where)], types)
        check_is_condition(kind, where)
    return RecordCondition(key, expression)


class AnyName(tuple[str, ...]):
    """Stands for the upstream columns of an unknown corpus: it contains every name."""

    def __contains__(self, name: object) -> bool:
        return True

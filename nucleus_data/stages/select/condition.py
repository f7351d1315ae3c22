"""A condition of another stage: SQL over one record's signals, checked and asked as rules are.

Of `caption.variants.NAME.where`, for example, and of `nucleus retry caption --where`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from nucleus_data.stages.select.database import at_most, sealed
from nucleus_data.stages.select.expression import Expression, Names, parse_condition, quoted
from nucleus_data.stages.select.judge import JUDGED_S, failing, without_nan
from nucleus_data.stages.select.rules import Try, check_is_condition, tried


@dataclass(frozen=True)
class RecordCondition:
    """A checked condition; a `nucleus_data.stage.Condition`.

    Attributes:
        key: The setting or option that has it, for messages.
        expression: What is run.
    """

    key: str
    expression: Expression

    @property
    def columns(self) -> tuple[str, ...]:
        """What it reads, as `table:column`."""
        return tuple(f"{column.table}:{column.name}" for column in self.expression.columns)

    def answers(self, columns: pa.Table) -> pa.ChunkedArray:
        """True, false or NULL for each record.

        Args:
            columns: Those that it reads, one row a record; a number that is none (NaN) is NULL.

        Raises:
            RequestError: It fails on a record, or takes too long.
        """
        given = {"_at": pa.array(np.arange(columns.num_rows))}
        for path, column in zip(self.columns, self.expression.columns, strict=True):
            given[column.name] = without_nan(columns.column(path))
        upstream = [c.name for c in self.expression.columns if c.table == "records"]
        fields = ", ".join(
            f"{quoted(name.removeprefix('source.'))} := {quoted(name)}" for name in upstream
        )
        source = f", struct_pack({fields}) AS source" if fields else ""
        connection = sealed()
        connection.register("given", pa.table(given))
        try:
            with at_most(JUDGED_S, connection):
                found: pa.Table = connection.sql(
                    f"SELECT CAST(({self.expression.sql}) AS BOOLEAN) AS answer "
                    f"FROM (SELECT *{source} FROM given) ORDER BY _at"
                ).to_arrow_table()
        except duckdb.Error as error:
            raise failing(connection, {self.key: self.expression}, source) or error from None
        finally:
            connection.unregister("given")
        return found.column("answer")


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
        key: The setting or option that has it.
        catalog: Signal name -> table.
        signals: (table, signal) -> type.
        upstream: `source.NAME` -> type of the corpus's upstream columns; None where there is no
            corpus yet, so that a condition on them is parsed and no more.

    Raises:
        RequestError: It is not one condition on one record, names an unknown column, or does not
            fit its columns.
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
    """The upstream columns of a corpus that is not there: each may be one."""

    def __contains__(self, name: object) -> bool:
        return True

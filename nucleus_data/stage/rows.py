"""Inputs and outputs of a row stage: rows, their results, and failures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Required, TypedDict


@dataclass(slots=True, eq=False)
class Row:
    """One record on its way through a stage.

    Attributes:
        shard: Image shard number.
        row: Place in the shard.
        id: Record id, 32 hex digits.
        file: Member name in the shard's tar, for example `3f….jpg`.
        image: The original bytes; None when the stage does not read images.
        columns: Column name -> value, of the input columns that the stage declares.
        wanted: Tables that lack this row. A stage may skip the work for other tables.
        attempts: Table -> number of earlier attempts, of tables for which the row is processed
            again.
    """

    shard: int
    row: int
    id: str
    file: str | None
    image: bytes | None
    columns: dict[str, Any]
    wanted: frozenset[str]
    attempts: Mapping[str, int] = field(default_factory=dict)


class TableFailure(TypedDict, total=False):
    """The reason why one table has no values for a row; the row's other tables may have values.

    Attributes:
        error: Reason code; a sentence may follow it after a colon.
        detail: Details for people.
        retryable: Whether the failure may be temporary. It is then stored beside the table, and
            `nucleus retry` processes the row again.
        attempts: Number of attempts so far, including those of earlier runs, if the work is
            attempted more than once. The table then has this column.
        values: Values of the table's columns that are known nevertheless, such as the provenance
            of a rejected answer; stored with the failure.
    """

    error: Required[str]
    detail: str
    retryable: bool
    attempts: int
    values: Mapping[str, Any]


@dataclass(slots=True)
class Result:
    """Values for one row: table name -> column -> value.

    Tables outside `row.wanted` are ignored. A `TableFailure` in place of a table's values means
    that this table alone has no values.
    """

    row: Row
    values: Mapping[str, Mapping[str, Any] | TableFailure]


@dataclass(slots=True)
class RowFailure:
    """The reason why a row has no values in any table.

    A failure that depends only on the image and the settings (`retryable=False`) is stored as a row
    of the table, with `reason` in its `error` column. A retryable one (a killed worker, a network
    error) is stored beside the table, and `nucleus retry` processes the row again.
    """

    row: Row
    reason: str
    detail: str = ""
    retryable: bool = False

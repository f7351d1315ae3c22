"""What a row stage is given and gives back: rows, their results, and failures."""

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
        columns: The input columns that the stage named in `columns`, by their name.
        wanted: Tables that lack this row. A stage may skip the work of the others.
        attempts: How many attempts there were by now, of tables that are asked about it again.
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
    """One table of a row has no values, and why; the row's other tables may have theirs.

    Attributes:
        error: Reason code; a sentence may follow it after a colon.
        detail: What was found, for a person to read.
        retryable: Whether it may pass: it is kept apart and done again by `nucleus retry`.
        attempts: How many there were by now, those of earlier rounds among them, of what is
            attempted more than once; a column of the table, then.
    """

    error: Required[str]
    detail: str
    retryable: bool
    attempts: int


@dataclass(slots=True)
class Result:
    """Values for one row: table name -> column -> value.

    Tables outside `row.wanted` are ignored. A `TableFailure` in place of a table's values says that
    this table alone has none.
    """

    row: Row
    values: Mapping[str, Mapping[str, Any] | TableFailure]


@dataclass(slots=True)
class RowFailure:
    """The row has no values, and why.

    A failure that depends on the image and the settings alone (`retryable=False`) is a row of the
    table, with `reason` in its `error` column. A retryable one (a killed worker, a network) is kept
    apart and done again by `nucleus retry`.
    """

    row: Row
    reason: str
    detail: str = ""
    retryable: bool = False

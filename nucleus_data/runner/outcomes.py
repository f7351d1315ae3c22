"""Outcomes of single rows: values or failures, by table."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from nucleus_data.errors import CorpusError
from nucleus_data.stage import Result, Row, RowFailure

# The reason of a row on which the stage raised; retryable, since the bug may be fixed.
RAISED = "stage_raised"
DETAIL_CHARACTERS = 2000
NOT_STORED = ("detail", "retryable", "values")  # of a failure, as they are
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # of an object in memory, as Python writes it

Found = Mapping[str, Any]  # a table's columns, or a `TableFailure`


def of_table(name: str, outcome: Result | RowFailure) -> Found:
    """Returns a row's values for a table, or its failure.

    Args:
        name: The table, for which the row is wanted.
        outcome: The row's outcome.

    Raises:
        CorpusError: The outcome has neither for this table.
    """
    if isinstance(outcome, RowFailure):
        return {
            "error": outcome.reason,
            "detail": outcome.detail,
            "retryable": outcome.retryable,
        }
    found = outcome.values.get(name)
    if found is None:
        raise CorpusError(
            f"table {name!r}: the result of row {outcome.row.row} has neither values nor a failure"
            f" for it, only for {sorted(outcome.values)}"
        )
    return found


def may_pass(found: Found) -> bool:
    """Whether it is a retryable failure."""
    return bool(found.get("error") and found.get("retryable"))


def as_row(found: Found, *, with_detail: bool) -> dict[str, Any]:
    """Returns the columns to store for values, or for a permanent failure.

    Args:
        found: The row's values or failure.
        with_detail: Whether to keep a failure's detail.
    """
    if not found.get("error"):
        return dict(found)
    kept = {name: value for name, value in found.items() if name not in NOT_STORED}
    row = {**found.get("values", {}), **kept}
    if with_detail and found.get("detail"):
        row["detail"] = clean(found["detail"])
    return row


def clean(detail: str) -> str:
    """Makes a failure's detail storable: valid Unicode, of limited length, the same in each run."""
    return ADDRESS.sub("", detail[:DETAIL_CHARACTERS]).encode("utf-8", "replace").decode()


def raised(error: BaseException) -> str:
    """Formats an exception's type and message in one line, as the detail of `stage_raised`."""
    return clean(f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": "))


def one_row(stage: Any, row: Row) -> Result | RowFailure:
    """Drives a stage's `process` with a single row.

    Args:
        stage: The stage, after its setup. If it holds the row back, it is fed None.
        row: The row.

    Raises:
        RuntimeError: The stage returned no outcome.
    """
    waiting = [row]

    def feed() -> Iterator[Row | None]:
        yield waiting.pop()
        while True:
            yield None

    for outcome in stage.process(feed()):
        found: Result | RowFailure = outcome
        return found
    raise RuntimeError(f"{stage.name} gave no outcome")

"""What became of one row, and in one table: its values, or a failure."""

from collections.abc import Iterator, Mapping
from typing import Any

from nucleus_data.errors import CorpusError
from nucleus_data.stage import Result, Row, RowFailure

# The reason of a row on which the stage raised: it may pass, as a bug may be mended.
RAISED = "stage_raised"
DETAIL_CHARACTERS = 2000

Found = Mapping[str, Any]  # a table's columns, or a `TableFailure`


def of_table(name: str, outcome: Result | RowFailure) -> Found:
    """A row's values in a table, or why it has none there.

    Args:
        name: The table; the row is wanted in it.
        outcome: Of the row.

    Raises:
        CorpusError: The stage says nothing of the table.
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
            f"table {name!r}: the result of row {outcome.row.row} has no values and no failure of"
            f" it, but of {sorted(outcome.values)}"
        )
    return found


def may_pass(found: Found) -> bool:
    """Whether it is a failure that `nucleus retry` does again."""
    return bool(found.get("error") and found.get("retryable"))


def as_row(found: Found, *, with_detail: bool) -> dict[str, Any]:
    """The columns that are stored of values, or of a final failure.

    Args:
        found: What a table has of a row.
        with_detail: Keep a failure's detail, if it has one.
    """
    if not found.get("error"):
        return dict(found)
    row = {name: value for name, value in found.items() if name not in ("detail", "retryable")}
    if with_detail and found.get("detail"):
        row["detail"] = clean(found["detail"])
    return row


def clean(detail: str) -> str:
    """A failure's detail as it can be stored: valid Unicode, of bounded length."""
    return detail[:DETAIL_CHARACTERS].encode("utf-8", "replace").decode()


def raised(error: BaseException) -> str:
    """An exception's type and message, in one line: the detail of `stage_raised`."""
    return clean(f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": "))


def one_row(stage: Any, row: Row) -> Result | RowFailure:
    """Drives a stage's `process` with a single row.

    Args:
        stage: Set up. One that holds the row back is asked for it with None.
        row: The row.

    Raises:
        RuntimeError: The stage gave no outcome.
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

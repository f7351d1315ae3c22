"""Converts the outcomes of a row stage to parts of its tables, and counts them."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from nucleus_data.corpus.tables import FAILED_ATTEMPTS, FAILED_SCHEMA, table_schema
from nucleus_data.errors import CorpusError
from nucleus_data.runner.outcomes import RAISED, Found, as_row, clean, may_pass, of_table, raised
from nucleus_data.runner.work import Summary
from nucleus_data.stage import Result, Row, RowFailure, RowStage, TableFailure, TableSpec

AFTER = ("error", "detail")  # columns added to a table's own
UNSTORABLE = (pa.ArrowException, UnicodeError, OverflowError)
Outcome = Result | RowFailure
Divided = tuple[pa.Table | None, pa.Table | None]


def divided(stage: RowStage[Any], spec: TableSpec, outcomes: Sequence[Outcome]) -> Divided:
    """Returns one table's rows and its retryable failures, each None if there are none.

    A row with a value that can't be stored (such as a lone surrogate) fails alone.

    Args:
        stage: The stage.
        spec: The table.
        outcomes: The outcomes of rows that the table lacks, in row order.

    Raises:
        CorpusError: A result has columns that the table does not have.
    """
    try:
        return _divided(stage, spec, outcomes)
    except UNSTORABLE:
        return _divided(stage, spec, [_storable(stage, spec, outcome) for outcome in outcomes])


def count_outcomes(summary: Summary, outcomes: Sequence[Outcome]) -> None:
    """Counts outcomes, overall and by table."""
    for outcome in outcomes:
        # Overall, a reason counts once per row, in however many tables it occurs.
        by_table = {name: of_table(name, outcome) for name in sorted(outcome.row.wanted)}
        reasons: dict[str, bool] = {}
        for name, values in by_table.items():
            if not values.get("error"):
                summary.tables[name].done += 1
                continue
            reason = values["error"].split(":")[0]
            summary.tables[name].failed[reason] += 1
            summary.tables[name].retryable += may_pass(values)
            reasons[reason] = reasons.get(reason, False) or may_pass(values)
        summary.failed.update(list(reasons))
        summary.retryable += any(reasons.values())
        summary.done += not by_table or not all(v.get("error") for v in by_table.values())


def _divided(stage: RowStage[Any], spec: TableSpec, outcomes: Sequence[Outcome]) -> Divided:
    of_spec = [(o.row, of_table(spec.name, o)) for o in outcomes]
    final = [(row, values) for row, values in of_spec if not may_pass(values)]
    again = [(row, failure) for row, failure in of_spec if may_pass(failure)]
    return (
        _part(stage, spec, final) if final else None,
        _failed_part(spec, again) if again else None,
    )


def _storable(stage: RowStage[Any], spec: TableSpec, outcome: Outcome) -> Outcome:
    """Replaces an outcome's values by a failure if they can't be stored."""
    try:
        _divided(stage, spec, [outcome])
    except UNSTORABLE as error:
        assert isinstance(outcome, Result)
        failure = TableFailure(error=RAISED, detail=raised(error), retryable=True)
        outcome.values = {**outcome.values, spec.name: failure}
    return outcome


def _part(stage: RowStage[Any], spec: TableSpec, outcomes: Sequence[tuple[Row, Found]]) -> pa.Table:
    """Builds a table's rows. Raises CorpusError if a result has other columns."""
    schema = table_schema(spec.schema)
    rows = []
    for row, outcome in outcomes:
        values = as_row(outcome, with_detail=stage.keeps_details)
        if values.keys() - {*spec.schema.names, *AFTER}:
            raise CorpusError(
                f"stage {stage.name!r}, table {spec.name!r}: expected columns "
                f"{spec.schema.names}, got {sorted(values)}"
            )
        rows.append({**_key(row), **values})
    # The column is added only if needed, so that other parts keep the same bytes.
    if any("detail" in row for row in rows):
        schema = schema.append(pa.field("detail", pa.string()))
    return pa.Table.from_pylist(rows, schema)


def _failed_part(spec: TableSpec, failures: Sequence[tuple[Row, Found]]) -> pa.Table:
    """Builds the rows of retryable failures, with what is known of the table's own columns."""
    rows = [
        {
            **failure.get("values", {}),
            **_key(row),
            "reason": failure["error"],
            "detail": clean(failure.get("detail", "")),
            "attempts": failure.get("attempts"),
        }
        for row, failure in failures
    ]
    # Columns are added only if needed, so that other parts keep the same bytes.
    schema = FAILED_SCHEMA
    if any(row["attempts"] is not None for row in rows):
        schema = schema.append(FAILED_ATTEMPTS)
    known = {name for row in rows for name in row} - {*schema.names, FAILED_ATTEMPTS.name}
    schema = pa.schema([*schema, *(column for column in spec.schema if column.name in known)])
    return pa.Table.from_pylist(rows, schema)


def _key(row: Row) -> dict[str, Any]:
    return {"shard": row.shard, "row": row.row, "id": row.id}

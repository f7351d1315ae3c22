"""How a variant ends without a caption, beside what the engine refuses (`failures`)."""

from collections.abc import Mapping
from typing import Any

from nucleus_data.engines.captioner import Generated
from nucleus_data.runner.outcomes import RAISED, raised
from nucleus_data.stage import TableFailure
from nucleus_data.stages.caption.checks import Fault

TEXT_CHARACTERS = 400


def exhausted(fault: Fault, made: Generated, attempts: int) -> TableFailure:
    """A variant whose last attempt failed a check, too; further attempts may do better.

    Args:
        fault: Of the last attempt.
        made: The last attempt.
        attempts: How many there were.
    """
    times = "1 attempt" if attempts == 1 else f"{attempts} attempts"
    detail = f"{fault.detail} ({times}); it said {made.text[:TEXT_CHARACTERS]!r}"
    return TableFailure(error=fault.check, detail=detail, retryable=True)


def of_parent(parent: str, outcome: Mapping[str, Any]) -> TableFailure:
    """A variant that would be made of one that has no caption; it may pass where that may.

    Args:
        parent: The other variant.
        outcome: What became of it.
    """
    return TableFailure(
        error="parent_failed",
        detail=f"caption.{parent}: {outcome.get('error')}",
        retryable=bool(outcome.get("retryable")),
    )


def stage_raised(error: Exception) -> TableFailure:
    """A variant on which our own code raised."""
    return TableFailure(error=RAISED, detail=raised(error), retryable=True)

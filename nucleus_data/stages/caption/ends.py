"""Failures of a variant that are not the engine's; those are in `failures`."""

from collections.abc import Mapping
from typing import Any

from nucleus_data.engines.captioner import Generated
from nucleus_data.runner.outcomes import RAISED, raised
from nucleus_data.stage import TableFailure
from nucleus_data.stages.caption.checks import Fault

TEXT_CHARACTERS = 400


def exhausted(fault: Fault, made: Generated, attempts: int) -> TableFailure:
    """Returns the failure of a variant whose every attempt failed a check.

    It is retryable, since further attempts may do better.

    Args:
        fault: What the check found in the last attempt.
        made: The answer of the last attempt.
        attempts: Number of attempts so far.
    """
    times = "1 attempt" if attempts == 1 else f"{attempts} attempts"
    detail = f"{fault.detail} ({times}); it said {made.text[:TEXT_CHARACTERS]!r}"
    return TableFailure(error=fault.check, detail=detail, retryable=True)


def of_parent(parent: str, outcome: Mapping[str, Any]) -> TableFailure:
    """Returns the failure of a variant whose parent has no caption; retryable if the parent's is.

    Args:
        parent: The parent variant.
        outcome: The parent's failure.
    """
    return TableFailure(
        error="parent_failed",
        detail=f"caption.{parent}: {outcome.get('error')}",
        retryable=bool(outcome.get("retryable")),
    )


def stage_raised(error: Exception) -> TableFailure:
    """Returns the failure of a variant on which this stage's own code raised."""
    return TableFailure(error=RAISED, detail=raised(error), retryable=True)

"""Decides which steps are skipped: those with spikes, or losses or gradients that are not finite.

A skipped step leaves weights and optimizer unchanged. The guard's input is a few figures that are
equal in every process, so all processes make the same decision.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple

from nucleus_model.settings.settings import QuickTrainSettings

LEAST_NORMS = 10  # the median of fewer is too uncertain
SHOWN_IDS = 8  # number of sample ids in the error message


class Verdict(NamedTuple):
    """The decision about a step.

    Attributes:
        reason: What is wrong with the step: `loss` or `gradient` if it is not finite, or `spike`;
            None if nothing is.
        clip: The norm to which the gradient is clipped; None if the step is skipped.
    """

    reason: str | None
    clip: float | None


@dataclass
class Guard:
    """Decides which steps are taken, by comparing them with previous steps.

    Args:
        settings: The run's settings.

    Attributes:
        norms: Gradient norms of the last normal steps, before clipping, oldest first.
        bad: Number of steps in a row that were skipped, up to the last step.
        skipped: Total number of skipped steps.
        clipped: Total number of spikes that were clipped.
    """

    settings: QuickTrainSettings
    norms: deque[float] = field(init=False)
    bad: int = 0
    skipped: int = 0
    clipped: int = 0

    def __post_init__(self) -> None:
        self.norms = deque(maxlen=self.settings.spike_window)

    def judge(self, step: int, loss: float, norm: float, ids: Sequence[str]) -> Verdict:
        """Decides about a step by its loss and gradient norm, and updates the statistics.

        Args:
            step: The step's number, for the error message.
            loss: Mean loss of the step's samples.
            norm: Norm of the whole gradient, before clipping.
            ids: Ids of the step's samples, for the error message.

        Raises:
            FloatingPointError: `max_bad_steps` steps in a row were skipped.
        """
        reason = self._reason(loss, norm)
        if reason is None:
            self.bad = 0
            self.norms.append(norm)
            return Verdict(None, self.settings.clip)
        # A spike's norm is not stored: otherwise a series of spikes would become the median.
        if reason == "spike" and self.settings.spike_action == "clip":
            self.bad = 0
            self.clipped += 1
            return Verdict(reason, min(self.settings.clip, median(self.norms)))
        self.bad += 1
        self.skipped += 1
        if self.bad >= self.settings.max_bad_steps:
            raise FloatingPointError(
                f"quick-train diverged at step {step}: loss {loss}, gradient norm {norm}; "
                f"{self.bad} steps in a row were skipped (quick_train.max_bad_steps). Lower "
                f"quick_train.lr, or check the samples of this step: "
                f"{', '.join(ids[:SHOWN_IDS])}"
            )
        return Verdict(reason, None)

    def _reason(self, loss: float, norm: float) -> str | None:
        if not math.isfinite(loss):
            return "loss"
        if not math.isfinite(norm):
            return "gradient"
        factor = self.settings.spike_factor
        known = len(self.norms) >= LEAST_NORMS
        return "spike" if factor and known and norm > factor * median(self.norms) else None

    def forget(self) -> None:
        """Discards the norms, as gradients of another phase are not comparable."""
        self.norms.clear()

    def state(self) -> dict[str, Any]:
        """Returns the state for `restore`, JSON-able."""
        return {
            "norms": list(self.norms),
            "bad": self.bad,
            "skipped": self.skipped,
            "clipped": self.clipped,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restores a state that `state` returned."""
        self.norms.extend(state["norms"])
        self.bad, self.skipped, self.clipped = state["bad"], state["skipped"], state["clipped"]

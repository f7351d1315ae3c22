"""Steps that are not taken: losses and gradients that are not finite, and spikes.

A skipped step leaves weights and optimizer as they were. The guard sees figures only, the same ones
on every process, so all processes decide alike.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple

from nucleus_model.settings.settings import QuickTrainSettings

LEAST_NORMS = 10  # a median of fewer says little
SHOWN_IDS = 8  # of the last step's samples, in the message


class Verdict(NamedTuple):
    """The decision about a step.

    Attributes:
        reason: What is odd about the step: `loss` and `gradient` are not finite, `spike`; None for
            nothing.
        clip: The norm to scale the gradient down to; None if the step is not taken.
    """

    reason: str | None
    clip: float | None


@dataclass
class Guard:
    """Decides which steps are taken, by what came before.

    Args:
        settings: The run's.

    Attributes:
        norms: Gradient norms of the last steps that were taken, before clipping, oldest first.
        bad: How many steps in a row were skipped.
        skipped: How many steps were skipped in all.
        clipped: How many spikes were clipped in all.
    """

    settings: QuickTrainSettings
    norms: deque[float] = field(init=False)
    bad: int = 0
    skipped: int = 0
    clipped: int = 0

    def __post_init__(self) -> None:
        self.norms = deque(maxlen=self.settings.spike_window)

    def judge(self, step: int, loss: float, norm: float, ids: Sequence[str]) -> Verdict:
        """Decides about a step by its loss and the norm of its gradient, and remembers them.

        Args:
            step: The step's number, for the message.
            loss: Mean over the step's samples.
            norm: Of the whole gradient, before clipping.
            ids: Of the step's samples, for the message.

        Raises:
            FloatingPointError: It is one skipped step too many in a row.
        """
        reason = self._reason(loss, norm)
        if reason is None:
            self.bad = 0
            self.norms.append(norm)
            return Verdict(None, self.settings.clip)
        # A spike's norm is not remembered: a row of them would else become the median.
        if reason == "spike" and self.settings.spike_action == "clip":
            self.bad = 0
            self.clipped += 1
            return Verdict(reason, min(self.settings.clip, median(self.norms)))
        self.bad += 1
        self.skipped += 1
        if self.bad >= self.settings.max_bad_steps:
            raise FloatingPointError(
                f"quick-train diverged at step {step}: loss {loss}, gradient norm {norm}; "
                f"{self.bad} steps in a row were not taken (quick_train.max_bad_steps). Lower "
                f"quick_train.lr, or look at the samples of this step: "
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
        """Starts the median anew, as another phase has other gradients."""
        self.norms.clear()

    def state(self) -> dict[str, Any]:
        """Returns what `restore` needs, JSON-able."""
        return {
            "norms": list(self.norms),
            "bad": self.bad,
            "skipped": self.skipped,
            "clipped": self.clipped,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from a `state`."""
        self.norms.extend(state["norms"])
        self.bad, self.skipped, self.clipped = state["bad"], state["skipped"], state["clipped"]

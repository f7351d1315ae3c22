"""What a step's number decides: the learning rate, the timestep shift, the weights of a merge.

Free of torch. Figures that are not measured here are marked: second-hand ones were reported of the
published model by others than its authors.
"""

import math
from collections.abc import Sequence

from nucleus_model.settings.settings import QuickTrainSettings

# Tokens and the mean of the logit of sigma there (second-hand).
MU_LOW = (256, 0.5)
MU_HIGH = (4096, 1.15)


def learning_rate(step: int, settings: QuickTrainSettings, factor: float = 1.0) -> float:
    """Returns the learning rate at a step.

    It rises over `warmup` steps, is flat, and, with `warmup_decay`, falls over the last
    `decay_share` of all steps; with `warmup_stable_merge` it stays where it is.

    Args:
        step: The step, from 1.
        settings: `lr`, `warmup`, `schedule`, `decay_share`, `steps`.
        factor: The phase's `lr_factor`.
    """
    up = step / settings.warmup if settings.warmup else 1.0
    falling = settings.steps * settings.decay_share
    if settings.schedule != "warmup_decay":
        falling = 0.0
    # The last step still learns, at 1 / falling of the rate: at 0 it would be lost.
    down = (settings.steps - step + 1) / falling if falling else 1.0
    return settings.lr * factor * min(1.0, up, down)


def shift_mu(tokens: int) -> float:
    """Returns the mean of the logit of sigma for images of so many tokens.

    Linear in the tokens between `MU_LOW` and `MU_HIGH`, and constant outside: larger images need
    more noise to lose as much of what they show.
    """
    share = (tokens - MU_LOW[0]) / (MU_HIGH[0] - MU_LOW[0])
    return MU_LOW[1] + (MU_HIGH[1] - MU_LOW[1]) * min(1.0, max(0.0, share))


def merge_weights(kind: str, count: int) -> list[float]:
    """Returns the weights of so many checkpoints in a merge, oldest first; their sum is 1.

    Training at a constant rate and averaging checkpoints is worth a decaying rate (Tian et al.
    2025, arXiv:2507.17634): if checkpoint j of n has the weight c_j, the updates between j - 1 and
    j count by w_j = c_j + ... + c_n.

    - `inverse_sqrt`: 1 / sqrt(k) for the k-th newest, k from 1. That the published model was merged
      with "inverse-square-root weights" is second-hand; which end is heaviest is read into it.
    - `uniform`: all alike, so w falls linearly.
    - `one_minus_sqrt`: w falls as 1 - sqrt(share of the way); the oldest is heaviest.

    Raises:
        ValueError: There is no such kind.
    """
    if kind == "uniform":
        raw = [1.0] * count
    elif kind == "inverse_sqrt":
        raw = [1 / math.sqrt(count - index) for index in range(count)]
    elif kind == "one_minus_sqrt":
        raw = [math.sqrt(index + 1) - math.sqrt(index) for index in range(count)]
    else:
        raise ValueError(f"weights must be inverse_sqrt, uniform or one_minus_sqrt, got {kind!r}")
    return _normed(raw)


def _normed(raw: Sequence[float]) -> list[float]:
    total = math.fsum(raw)
    return [value / total for value in raw]

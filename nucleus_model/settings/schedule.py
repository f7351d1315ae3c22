"""Schedules: the learning rate by step, the timestep shift by tokens, the weights of a merge.

Figures marked as second-hand were not measured here: they were reported about the published model,
and not by its authors. This module needs no torch.
"""

import math
from collections.abc import Sequence

from nucleus_model.settings.settings import QuickTrainSettings

# Number of tokens, and the mean of the logit of sigma at that number (second-hand).
MU_LOW = (256, 0.5)
MU_HIGH = (4096, 1.15)


def learning_rate(step: int, settings: QuickTrainSettings, factor: float = 1.0) -> float:
    """Returns the learning rate at a step.

    It rises linearly over `warmup` steps, and then is constant. With `warmup_decay`, it falls
    linearly over the last `decay_share` of all steps.

    Args:
        step: The step, from 1.
        settings: The settings; `lr`, `warmup`, `schedule`, `decay_share` and `steps` are used.
        factor: The phase's `lr_factor`.
    """
    up = step / settings.warmup if settings.warmup else 1.0
    falling = settings.steps * settings.decay_share
    if settings.schedule != "warmup_decay":
        falling = 0.0
    # The last step has 1 / falling of the rate, and not 0, as it would be wasted.
    down = (settings.steps - step + 1) / falling if falling else 1.0
    return settings.lr * factor * min(1.0, up, down)


def shift_mu(tokens: int) -> float:
    """Returns the mean of the logit of sigma for images with a number of tokens.

    It is linear in the tokens between `MU_LOW` and `MU_HIGH`, and constant outside. Larger images
    need more noise to lose the same share of their content.
    """
    share = (tokens - MU_LOW[0]) / (MU_HIGH[0] - MU_LOW[0])
    return MU_LOW[1] + (MU_HIGH[1] - MU_LOW[1]) * min(1.0, max(0.0, share))


def merge_weights(kind: str, count: int) -> list[float]:
    """Returns the weights of `count` checkpoints in a merge, oldest first; their sum is 1.

    Training at a constant rate and averaging checkpoints is equivalent to decaying the rate (Tian
    et al. 2025, arXiv:2507.17634). If checkpoint j of n has the weight c_j, the updates between
    j - 1 and j have the weight w_j = c_j + ... + c_n.

    - `inverse_sqrt`: 1 / sqrt(k) for the k-th newest, k from 1. That the published model was merged
      with "inverse-square-root weights" is second-hand; that the newest is heaviest is our reading.
    - `uniform`: equal weights, so w falls linearly.
    - `one_minus_sqrt`: w falls as 1 - sqrt(share of the way), so the oldest is heaviest.

    Args:
        kind: One of the three kinds.
        count: Number of checkpoints.

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

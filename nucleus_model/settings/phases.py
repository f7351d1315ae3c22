"""The phases of a training: consecutive ranges of steps with different settings.

    phases:
      - {steps: 4000, resolution: 256, batch_size: 64, capacity_factors: 8}
      - {steps: 2000, resolution: 512, batch_size: 16, capacity_factors: 4, lr_factor: 0.5,
         aspects: [1x1, 4x3, 3x4], captions: {long: 2, short: 1}}

A key that a phase leaves out has the value of the setting of the same name beside `phases`. Steps
and epochs are counted through all phases, so no sample gets the same noise twice. This module needs
no torch.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from nucleus_data.config import ADDED


def _weighty(weights: Mapping[str, float]) -> Mapping[str, float]:
    if not (weights and min(weights.values()) >= 0 < sum(weights.values())):
        raise ValueError("must be weights of 0 or more, one of them above 0")
    return weights


Weights = Annotated[Mapping[str, float], AfterValidator(_weighty)]
# Column of the set -> value of the column -> how often an epoch contains each such sample.
Mixture = Mapping[str, Weights]


class Phase(BaseModel):
    """A phase of a training. Fields that are None have the value of the setting beside `phases`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    steps: int = Field(ge=1, description="Optimizer steps of this phase.")
    resolution: int | None = Field(
        default=None,
        ge=8,
        description="Resolution of the set to train on, in pixels. null: the value beside "
        "`phases`.",
    )
    batch_size: int | None = Field(
        default=None,
        ge=1,
        description="Images per step, over all processes; replaces a `batch_tokens` beside "
        "`phases`. null: the value beside `phases`.",
    )
    micro_batch: int | None = Field(
        default=None,
        ge=1,
        description="Maximum number of images that a process computes at once. null: the value "
        "beside `phases`.",
    )
    capacity_factors: float | tuple[float, ...] | None = Field(
        default=None,
        description="Capacity factors of the experts: one number for all blocks with experts, or "
        "one per block (0 for dense blocks). null: the value beside `phases`.",
    )
    aspects: tuple[str, ...] | None = Field(
        default=None,
        description="Names of the aspect buckets to train on (1x1, 16x9). null: the value beside "
        "`phases`.",
    )
    captions: Weights | None = Field(
        default=None,
        description="Sampling weights of captions by source: a source as stored in the set "
        "(synthesized:short), the part after its colon (short) or the part before it (web). null: "
        "the value beside `phases`.",
    )
    batch_tokens: int | None = Field(
        default=None,
        ge=1,
        description="Image tokens per step; replaces `batch_size`. null: the value beside "
        "`phases`.",
        json_schema_extra=ADDED,
    )
    mixture: Mixture | None = Field(
        default=None,
        description="How often a sample occurs in an epoch, by the values of the set's columns "
        "(tier, curriculum). null: the value beside `phases`.",
        json_schema_extra=ADDED,
    )
    timestep_mu: float | None = Field(
        default=None,
        description="Mean of the logit of sigma, the share of noise. null: the value beside "
        "`phases`.",
    )
    lr_factor: float = Field(
        default=1.0,
        gt=0,
        description="Factor by which the learning rate is multiplied in this phase.",
    )

    def completed(self, shared: Mapping[str, Any]) -> "Phase":
        """Returns the phase with the values beside `phases` for what it leaves out.

        A phase with a `batch_size` of its own counts images, so `batch_tokens` is not completed.

        Args:
            shared: The values beside `phases`, by field.
        """
        missing = {name: value for name, value in shared.items() if getattr(self, name) is None}
        if self.batch_size is not None:
            missing.pop("batch_tokens", None)
        return self.model_copy(update=missing)

    @property
    def piece(self) -> int:
        """Maximum number of images that a process computes at once."""
        # A picture has at least one token, so a batch has at most `batch_tokens` pictures.
        return self.micro_batch or self.batch_tokens or self.batch_size or 1


def phase_at(phases: Sequence[Phase], step: int) -> int:
    """Returns the number, from 0, of the phase that a step belongs to.

    Args:
        phases: The phases.
        step: The step, counted from 1 through all phases. Steps after the end belong to the last
            phase.
    """
    ends = list(accumulate(phase.steps for phase in phases))
    return min(sum(step > end for end in ends), len(phases) - 1)


def caption_weight(weights: Mapping[str, float] | None, source: str) -> float:
    """Returns the weight of a caption by its source; 0 if `weights` does not name it.

    Args:
        weights: Weights by name; None for equal weights. The whole source is looked up first, then
            the part after its colon, then the part before it.
        source: The caption's source in the set: `web`, `synthesized:short`.
    """
    if weights is None:
        return 1.0
    origin, _, variant = source.partition(":")
    for name in (source, variant, origin):
        if name in weights:
            return weights[name]
    return 0.0

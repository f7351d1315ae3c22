"""The phases of a training: what changes between stretches of steps. Free of torch.

    phases:
      - {steps: 4000, resolution: 256, batch_size: 64, capacity_factors: 8}
      - {steps: 2000, resolution: 512, batch_size: 16, capacity_factors: 4, lr_factor: 0.5,
         aspects: [1x1, 4x3, 3x4], captions: {long: 2, short: 1}}

A key that a phase leaves out has the value of the setting of that name beside `phases`. Steps and
epochs are counted through all phases, so no sample meets the same noise twice.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from nucleus_data.config import ADDED


def _weighty(weights: Mapping[str, float]) -> Mapping[str, float]:
    if not (weights and min(weights.values()) >= 0 < sum(weights.values())):
        raise ValueError("must be weights of 0 or more, one of them above 0")
    return weights


Weights = Annotated[Mapping[str, float], AfterValidator(_weighty)]
# Column of the set -> value of that column -> how often an epoch has such a sample.
Mixture = Mapping[str, Weights]


class Phase(BaseModel):
    """One stretch of steps; what it leaves out (None) it takes from the settings beside it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    steps: int = Field(ge=1, description="Optimizer steps of this phase.")
    resolution: int | None = Field(
        default=None, ge=8, description="Which resolution of the set, in pixels."
    )
    batch_size: int | None = Field(default=None, ge=1, description="Images a step.")
    micro_batch: int | None = Field(
        default=None, ge=1, description="Most images that a process takes at once."
    )
    capacity_factors: float | tuple[float, ...] | None = Field(
        default=None,
        description="Of the experts: one for all blocks that have any, or one a block (0 where "
        "it is dense). Empty for the preset's.",
    )
    aspects: tuple[str, ...] | None = Field(
        default=None, description="Aspect buckets by name (1x1, 16x9); empty for all of the set."
    )
    captions: Weights | None = Field(
        default=None,
        description="Weights of captions by where they come from: a source as the set has it "
        "(synthesized:short), its second part (short) or its first (web). Empty: all alike.",
    )
    batch_tokens: int | None = Field(
        default=None,
        ge=1,
        description="Image tokens a step instead of `batch_size`.",
        json_schema_extra=ADDED,
    )
    mixture: Mixture | None = Field(
        default=None,
        description="How often an epoch has each sample, by a column beside the set (tier, "
        "curriculum) and its values. Empty: every sample once.",
        json_schema_extra=ADDED,
    )
    timestep_mu: float | None = Field(
        default=None, description="Mean of the logit of sigma; empty: by the number of tokens."
    )
    lr_factor: float = Field(default=1.0, gt=0, description="Times the learning rate.")

    @property
    def piece(self) -> int:
        """Most images that a process takes at once."""
        # A picture has a token at least, so the tokens of a batch are no bound to its pieces.
        return self.micro_batch or self.batch_tokens or self.batch_size or 1


def phase_at(phases: Sequence[Phase], step: int) -> int:
    """Returns the number, from 0, of the phase that a step belongs to.

    Args:
        phases: With their steps.
        step: Counted from 1 through all phases; one beyond the last belongs to the last phase.
    """
    ends = list(accumulate(phase.steps for phase in phases))
    return min(sum(step > end for end in ends), len(phases) - 1)


def caption_weight(weights: Mapping[str, float] | None, source: str) -> float:
    """Returns the weight of a caption by where it comes from; 0 if no name fits.

    Args:
        weights: By name; None for all alike. The whole name counts first, then what follows its
            colon, then what is before it.
        source: As the set has it: `web`, `synthesized:short`.
    """
    if weights is None:
        return 1.0
    origin, _, variant = source.partition(":")
    for name in (source, variant, origin):
        if name in weights:
            return weights[name]
    return 0.0

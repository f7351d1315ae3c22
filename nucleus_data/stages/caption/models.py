"""Models of variants that are not asked of the stage's own: what they are, and which are asked.

    caption:
      model: Qwen/Qwen3-VL-8B-Instruct
      gpu_memory_utilization: 0.6
      models:
        writer: {model: Qwen/Qwen3-4B, revision: 1cfa9a7, gpu_memory_utilization: 0.3}
      variants:
        long: {prompt: long}
        short: {prompt: short_from, from: long, model: writer}

Each worker holds all models that its variants are asked of; or asks servers, where that is said.
"""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from nucleus_data.config import KEEPS_VALUES
from nucleus_data.engines.captioner import EngineSettings
from nucleus_data.engines.find import CAPTIONER, ModelKind

OWN = ""  # the name of the stage's own model
# Of one model alone; what else `caption` says of its own holds for the others, too.
_OF_ONE = ("model", "revision", "servers", "vllm_args", "template_args")
SHARED = tuple(name for name in EngineSettings.model_fields if name not in _OF_ONE)


class Price(BaseModel):
    """What a server asks for, in any currency."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_per_million: float = Field(ge=0, description="For a million tokens that are read.")
    output_per_million: float = Field(ge=0, description="For a million tokens that are written.")


class PricedModel(EngineSettings):
    """A model, how it is run, and what that costs."""

    price: Price | None = Field(
        default=None,
        json_schema_extra=KEEPS_VALUES,
        description="What a million tokens cost, for --dry-run. Not in the config hash.",
    )
    rate: float | None = Field(
        default=None,
        gt=0,
        json_schema_extra=KEEPS_VALUES,
        description="Captions a second, for --dry-run; null for the rate of this corpus's earlier"
        " runs with the model. Not in the config hash.",
    )


class OtherModel(PricedModel):
    """A model for those variants that name it; what it leaves out is as `caption` has it.

    A variant's table is as if `caption` itself had this model: no other key is in its config hash.
    """

    model: str = Field(
        description="nano, a folder, or the hub name of a model that the engine serves; one that"
        " reads texts alone will do for variants that do not see the picture."
    )


def like_the_stage(models: Any, stage: Mapping[str, Any]) -> Any:
    """Other models with what they leave out, and `caption` says.

    Args:
        models: By name; what is not of this form is left for pydantic to refuse.
        stage: What is given of `caption`.
    """
    if not isinstance(models, Mapping):
        return models
    shared = {name: stage[name] for name in SHARED if name in stage}
    found = {}
    for name, model in models.items():
        given = model.model_dump(exclude_unset=True) if isinstance(model, OtherModel) else model
        found[name] = {**shared, **given} if isinstance(given, Mapping) else given
    return found


def place_of(name: str) -> str:
    """Where a model's settings stand: `caption`, or `caption.models.NAME`."""
    return f"caption.models.{name}" if name else "caption"


def kind_of(name: str) -> ModelKind:
    """The setting that names a model."""
    return ModelKind(f"{place_of(name)}.model", CAPTIONER.nano) if name else CAPTIONER


def said_of(name: str, text: str) -> str:
    """What an engine says of its settings, which are `caption`'s to it, of those of a model."""
    keys = "|".join((*EngineSettings.model_fields, *_OF_ONE))
    return re.sub(rf"\bcaption\.(?=(?:{keys})\b)", f"{place_of(name)}.", text)

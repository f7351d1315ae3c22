"""Settings of further models, for variants that don't use `caption.model`.

    caption:
      model: Qwen/Qwen3-VL-8B-Instruct
      gpu_memory_utilization: 0.6
      models:
        writer: {model: Qwen/Qwen3-4B, revision: 1cfa9a7, gpu_memory_utilization: 0.3}
      variants:
        long: {prompt: long}
        short: {prompt: short_from, from: long, model: writer}

Each worker loads all models that its variants use, unless a model is served elsewhere.
"""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from nucleus_data.config import KEEPS_VALUES
from nucleus_data.engines.captioner import EngineSettings
from nucleus_data.engines.find import CAPTIONER, ModelKind

OWN = ""  # the name of the stage's own model
# Settings that belong to one model; all other settings of `caption` are inherited by `models`.
_OF_ONE = ("model", "revision", "servers", "vllm_args", "template_args")
SHARED = tuple(name for name in EngineSettings.model_fields if name not in _OF_ONE)


class Price(BaseModel):
    """Price of a model's tokens, in any currency."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    input_per_million: float = Field(ge=0, description="Price of one million prompt tokens.")
    output_per_million: float = Field(ge=0, description="Price of one million generated tokens.")


class PricedModel(EngineSettings):
    """A model, how it is run, and what that costs."""

    price: Price | None = Field(
        default=None,
        json_schema_extra=KEEPS_VALUES,
        description="Price of the model's tokens, for the estimate of --dry-run. Not in the"
        " config hash.",
    )
    rate: float | None = Field(
        default=None,
        gt=0,
        json_schema_extra=KEEPS_VALUES,
        description="Captions per second, for the estimate of --dry-run; null: as in this"
        " corpus's earlier runs with the model. Not in the config hash.",
    )


class OtherModel(PricedModel):
    """A model for the variants that name it; settings left out are inherited from `caption`.

    A variant's table has the config hash that it would have if this were `caption.model`.
    """

    model: str = Field(
        description="Model: nano, a folder, or the hub name of a model that the engine supports;"
        " a text-only model is enough for variants that do not see the picture."
    )


def like_the_stage(models: Any, stage: Mapping[str, Any]) -> Any:
    """Returns `caption.models` with the settings inherited from `caption` filled in.

    Args:
        models: The models by name; malformed ones are returned as they are, for pydantic to refuse.
        stage: The given settings of `caption`.
    """
    if not isinstance(models, Mapping):
        return models
    shared = {name: stage[name] for name in SHARED if name in stage}
    completed = {}
    for name, model in models.items():
        given = model.model_dump(exclude_unset=True) if isinstance(model, OtherModel) else model
        completed[name] = {**shared, **given} if isinstance(given, Mapping) else given
    return completed


def place_of(name: str) -> str:
    """Returns the section of a model's settings: `caption`, or `caption.models.NAME`."""
    return f"caption.models.{name}" if name else "caption"


def kind_of(name: str) -> ModelKind:
    """Returns the key of the setting that names a model."""
    return ModelKind(f"{place_of(name)}.model", CAPTIONER.nano) if name else CAPTIONER


def said_of(name: str, text: str) -> str:
    """Rewrites `caption.KEY` in an engine's message to the model's own key."""
    keys = "|".join((*EngineSettings.model_fields, *_OF_ONE))
    return re.sub(rf"\bcaption\.(?=(?:{keys})\b)", f"{place_of(name)}.", text)

"""Settings of the stage `embed`: which models, and how each of them runs."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from nucleus_data.config import SNAKE_CASE
from nucleus_data.engines.embedder import BATCH_ON_CPU, BATCH_ON_GPU, default_batch
from nucleus_data.engines.find import CLIP, ModelKind, ModelReference, resolve_model

Library = Literal["open_clip", "transformers"]
ModelName = Annotated[str, SNAKE_CASE]
# Batch sizes, by device, from before hashes contained them; text tables with these sizes keep their
# hash.
BATCH_BEFORE = {"cpu": 1}
MOVED: dict[str, Any] = {"moved": {"heads": "score.heads"}}
CONFIG = {"open_clip": CLIP.config, "transformers": "config.json"}


class EmbedModel(BaseModel):
    """Settings of a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str | None = Field(
        default=None,
        description="Model: nano, a folder as saved by its library, or a hub name; null: none.",
    )
    revision: str | None = Field(
        default=None, description="Commit or tag of a hub model, for which it is required."
    )
    library: Library = Field(
        default="open_clip",
        description="Library that loads the model: open_clip, or transformers (CLIP, SigLIP, ...).",
    )
    precision: Literal["fp32", "bf16"] = Field(
        default="fp32", description="Precision of weights and layers; bf16 is for GPUs."
    )
    device: str = Field(
        default="cpu",
        description="Device that the model runs on, such as cpu or cuda; bit-identical results"
        " are guaranteed for cpu only.",
    )
    batch: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="Number of pictures or texts per batch; part of the table's hash, because the"
        f" last bits of sums depend on it. null: {BATCH_ON_CPU} on CPUs, {BATCH_ON_GPU} elsewhere.",
    )


class NamedModel(EmbedModel):
    """Settings of a further model, with tables of its own."""

    model: str = Field(
        description="Model: nano, a folder as saved by its library, or a hub name, which needs a"
        " `revision`."
    )


class EmbedSettings(EmbedModel):
    """Settings of the embed stage: its models."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=MOVED)

    model: str | None = Field(
        default=None,
        description="Model that embeds pictures and captions: nano, a folder as saved by its"
        " library, or a hub name; null: none.",
    )
    models: dict[ModelName, NamedModel] = Field(
        default_factory=dict,
        description="Further models by name, each with its own tables embed.image.NAME and"
        " embed.text.NAME.",
    )

    def all_models(self) -> Mapping[str, EmbedModel]:
        """Returns the models by name; that of `embed.model`, if it is set, has an empty name."""
        own = {} if self.model is None else {"": self}
        return {**own, **self.models}


@dataclasses.dataclass(frozen=True)
class ModelTables:
    """A model of the settings, with the names of its tables and columns.

    Attributes:
        name: The model's name in `embed.models`; empty for that of `embed.model`.
        settings: The model's settings.
    """

    name: str
    settings: EmbedModel

    @property
    def image(self) -> str:
        """Name of the table of pictures' vectors."""
        return f"embed.image.{self.name}".rstrip(".")

    @property
    def text(self) -> str:
        """Name of the table of captions' vectors."""
        return f"embed.text.{self.name}".rstrip(".")

    def column(self, name: str) -> str:
        """Returns the full name of a column, such as `clip_image_embedding`."""
        return f"{self.name}_{name}".lstrip("_")

    @property
    def batch(self) -> int:
        """Number of pictures or texts in a batch."""
        return self.settings.batch or default_batch(self.settings.device)

    def kind(self) -> ModelKind:
        """Returns the setting that names the model, for messages, and its configuration file."""
        key = f"embed.models.{self.name}" if self.name else "embed"
        return dataclasses.replace(
            CLIP,
            key=f"{key}.model",
            revision_key=f"{key}.revision",
            config=CONFIG[self.settings.library],
        )

    def found(self) -> ModelReference:
        """Resolves the model and its revision; RequestError if that fails."""
        assert self.settings.model is not None  # as for all models in `all_models`
        return resolve_model(self.settings.model, self.settings.revision, self.kind())

    def identity(self) -> dict[str, Any]:
        """Returns everything that determines the vectors, except the batch size."""
        model, settings = self.found(), self.settings
        library = {} if settings.library == "open_clip" else {"library": settings.library}
        return {
            "model": model.name,
            "revision": model.revision,
            "precision": settings.precision,
            **library,
        }

    def text_identity(self) -> dict[str, Any]:
        """Returns everything that determines the texts' vectors.

        The batch size is included only if it differs from `BATCH_BEFORE`.
        """
        before = BATCH_BEFORE.get(self.settings.device, BATCH_ON_GPU)
        batch = {} if self.batch == before else {"batch": self.batch}
        return {**self.identity(), **batch}


def model_tables(settings: EmbedSettings) -> tuple[ModelTables, ...]:
    """Returns the models of the settings, with the names of their tables."""
    return tuple(ModelTables(name, model) for name, model in settings.all_models().items())


def libraries(settings: EmbedSettings) -> tuple[str, ...]:
    """Returns the sorted names of the packages that load the models."""
    return tuple(sorted({model.library for model in settings.all_models().values()}))

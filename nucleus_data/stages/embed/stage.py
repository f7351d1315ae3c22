"""The stage `embed`: computes vectors of pictures and of their source captions.

Each model has two tables of unit vectors, `embed.image` and `embed.text`. For a model in
`embed.models`, the tables' names end with the model's name, and the columns' names begin with it.
With a picture's vector, the model's logit scale and bias are stored (`logit_scale_bias`), which
turn a cosine into a logit. Vectors are stored in half precision; the stage `score` evaluates them
without reading pictures.

    nucleus embed CORPUS embed.model=timm/ViT-SO400M-16-SigLIP2-512 embed.revision=4a0b…
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pyarrow as pa

from nucleus_data.engines.clip import load_clip
from nucleus_data.stage import Result, Row, RowFailure, RowStage, TableSpec
from nucleus_data.stages.embed.batches import Batches, Clock, Lane, RowWork
from nucleus_data.stages.embed.settings import EmbedSettings, ModelTables, model_tables

VECTOR = pa.list_(pa.float16())
# Scale and bias that turn a cosine into a logit; a list, so that rules do not take it for a signal.
LOGIT = pa.list_(pa.float32())
CAPTION = "records:source.caption"
IMAGE_VECTOR, TEXT_VECTOR, LOGIT_COLUMN = "image_embedding", "text_embedding", "logit_scale_bias"
# 2: JPEGs are decoded at the model's scale.
IMAGE_VERSION, TEXT_VERSION = 2, 1


class Embed(RowStage[EmbedSettings]):
    """Embeds records that are kept, or that wait for scores."""

    name = "embed"
    help = "Embed pictures and captions of records that may still be kept."
    resources: ClassVar = {"actors": 1}
    optional = True
    readable = True
    Settings = EmbedSettings
    columns = (CAPTION,)
    chooses = "kept"

    def __init__(self, settings: EmbedSettings) -> None:
        super().__init__(settings)
        self._models = model_tables(settings)
        self._lanes: list[Lane] = []
        self._clock: Clock | None = None

    def missing(self) -> str | None:
        """Returns a message if no model is set."""
        if self._models:
            return None
        return "embed.model is not set; set it to nano, a folder, or a hub name with embed.revision"

    def tables(self) -> Sequence[TableSpec]:
        """Returns the two tables of each model; RequestError if a model can't be resolved."""
        return [spec for model in self._models for spec in _vector_tables(model)]

    def needs_image(self, row: Row) -> bool:
        """Returns whether a vector of the picture is not stored yet."""
        return any(model.image in row.wanted for model in self._models)

    def rows_at_once(self) -> int:
        """Returns the number of rows in four batches, by the largest batch size of the models.

        These are the batches that a model processes, and those that are prepared meanwhile.
        """
        return 4 * max((model.batch for model in self._models), default=1)

    def setup(self) -> None:
        """Loads the models."""
        self._lanes = [
            Lane(
                load_clip(
                    model.found(),
                    model.settings.device,
                    model.settings.precision,
                    model.settings.library,
                    model.batch,
                ),
                model.image,
                model.text,
            )
            for model in self._models
        ]
        self._clock = Clock()

    def spent(self) -> Mapping[str, float]:
        """Returns the seconds for which the models were busy, and waited for pixels."""
        return {} if self._clock is None else self._clock.take()

    def process(self, rows: Iterator[Row | None]) -> Iterator[Result | RowFailure]:
        """Embeds in batches; yields the rows that it holds when it receives None."""
        if self._clock is None:
            raise RuntimeError("setup() must be called before process()")
        batches = Batches(self._lanes, _caption, self.cpus, self._clock)
        for work in batches.run(rows):
            yield work.failure or Result(work.row, self._tables_of(work))

    def _tables_of(self, work: RowWork) -> dict[str, dict[str, Any]]:
        """Returns a row's values in all tables."""
        values: dict[str, dict[str, Any]] = {}
        for lane, model in zip(self._lanes, self._models, strict=True):
            image, text = work.vectors.get(model.image), work.vectors.get(model.text)
            values[model.image] = {
                model.column(IMAGE_VECTOR): image,
                model.column(LOGIT_COLUMN): lane.model.logit,
            }
            values[model.text] = {model.column(TEXT_VECTOR): text}
        return values


def _vector_tables(model: ModelTables) -> Iterator[TableSpec]:
    """Yields the tables of a model; RequestError if the model can't be resolved."""
    image = pa.schema([(model.column(IMAGE_VECTOR), VECTOR), (model.column(LOGIT_COLUMN), LOGIT)])
    text = pa.schema([(model.column(TEXT_VECTOR), VECTOR)])
    decides = {**model.identity(), "batch": model.batch}
    yield TableSpec(model.image, image, IMAGE_VERSION, decides, ("records",))
    yield TableSpec(model.text, text, TEXT_VERSION, model.text_identity(), ("records",))


def _caption(row: Row) -> str:
    """Returns a picture's source caption, without surrounding white space; empty for none."""
    return (row.columns.get(CAPTION) or "").strip()

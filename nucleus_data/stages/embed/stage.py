"""The stage `embed`: vectors of images and of the captions that they came with.

Two tables a model: `embed.image` and `embed.text` hold its unit vectors; those of the models in
`embed.models` have the model's name behind theirs, and before their columns. Beside a picture's
vector stand the two numbers that make a probability of a cosine (`logit_scale_bias`). Vectors are
stored in half precision; the stage `score` says something of them, without the images.

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
# A list, as it is no signal: the scale that a cosine is multiplied with, and what is added then.
LOGIT = pa.list_(pa.float32())
CAPTION = "records:source.caption"
IMAGE_VECTOR, TEXT_VECTOR, LOGIT_COLUMN = "image_embedding", "text_embedding", "logit_scale_bias"
# 2: JPEGs are decoded at the model's scale.
IMAGE_VERSION, TEXT_VERSION = 2, 1


class Embed(RowStage[EmbedSettings]):
    """Embeds what is kept or waits for its scores."""

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
        """The model."""
        if self._models:
            return None
        return "embed.model is not set; give nano, a folder, or a hub name with embed.revision"

    def tables(self) -> Sequence[TableSpec]:
        """None without a model. Raises RequestError when a model is not there."""
        return [spec for each in self._models for spec in _vector_tables(each)]

    def needs_image(self, row: Row) -> bool:
        """Only where a vector of it is not stored yet."""
        return any(each.image in row.wanted for each in self._models)

    def rows_at_once(self) -> int:
        """Batches in the largest model's hands, and those that are made meanwhile."""
        return 4 * max((each.batch for each in self._models), default=1)

    def setup(self) -> None:
        """Loads the models."""
        self._lanes = [
            Lane(
                load_clip(
                    each.found(),
                    each.settings.device,
                    each.settings.precision,
                    each.settings.library,
                    each.batch,
                ),
                each.image,
                each.text,
            )
            for each in self._models
        ]
        self._clock = Clock()

    def spent(self) -> Mapping[str, float]:
        """How long the models were busy, and how long they waited for pixels."""
        return {} if self._clock is None else self._clock.take()

    def process(self, rows: Iterator[Row | None]) -> Iterator[Result | RowFailure]:
        """Embeds in batches; gives back what it holds when given None."""
        if self._clock is None:
            raise RuntimeError("setup() comes before process()")
        batches = Batches(self._lanes, _caption, self.cpus, self._clock)
        for work in batches.run(rows):
            yield work.failure or Result(work.row, self._tables_of(work))

    def _tables_of(self, work: RowWork) -> dict[str, dict[str, Any]]:
        """The values of a row in all tables."""
        values: dict[str, dict[str, Any]] = {}
        for lane, each in zip(self._lanes, self._models, strict=True):
            image, text = work.vectors.get(each.image), work.vectors.get(each.text)
            values[each.image] = {
                each.column(IMAGE_VECTOR): image,
                each.column(LOGIT_COLUMN): lane.model.logit,
            }
            values[each.text] = {each.column(TEXT_VECTOR): text}
        return values


def _vector_tables(each: ModelTables) -> Iterator[TableSpec]:
    """The tables of a model's vectors. Raises RequestError when the model is not there."""
    image = pa.schema([(each.column(IMAGE_VECTOR), VECTOR), (each.column(LOGIT_COLUMN), LOGIT)])
    text = pa.schema([(each.column(TEXT_VECTOR), VECTOR)])
    decides = {**each.identity(), "batch": each.batch}
    yield TableSpec(each.image, image, IMAGE_VERSION, decides, ("records",))
    yield TableSpec(each.text, text, TEXT_VERSION, each.text_identity(), ("records",))


def _caption(row: Row) -> str:
    """The text that a picture came with."""
    return (row.columns.get(CAPTION) or "").strip()

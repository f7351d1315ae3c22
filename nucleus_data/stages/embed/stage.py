"""The stage `embed`: vectors of images and of the captions that they came with, and scores.

Two tables a model: `embed.image` and `embed.text` hold its unit vectors; those of the models in
`embed.models` have the model's name behind theirs, and before their columns. Beside a picture's
vector stand the two numbers that make a probability of a cosine (`logit_scale_bias`).
`embed.match` has the cosine of the two, `embed.heads` what small networks say of the image's vector
(how pleasant, how safe; whatever the heads' folder names). Vectors are stored in half precision,
and scores are of the stored vector: other heads score a corpus again without its images.

    nucleus embed CORPUS embed.model=timm/ViT-SO400M-16-SigLIP2-512 embed.revision=4a0b…
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from nucleus_data.engines.clip import load_clip
from nucleus_data.engines.find import HEADS, resolve_model
from nucleus_data.engines.heads import Heads, load_heads
from nucleus_data.stage import Result, Row, RowFailure, RowStage, TableSpec
from nucleus_data.stages.embed.batches import Batches, Clock, Lane, RowWork, Stored
from nucleus_data.stages.embed.settings import EmbedSettings, ModelTables, model_tables

IMAGE, TEXT, MATCH, SCORES = "embed.image", "embed.text", "embed.match", "embed.heads"
VECTOR = pa.list_(pa.float16())
# A list, as it is no signal: the scale that a cosine is multiplied with, and what is added then.
LOGIT = pa.list_(pa.float32())
SCHEMAS = {
    MATCH: pa.schema([("caption_cosine", pa.float32())]),
}
CAPTION = "records:source.caption"
STORED = {IMAGE: f"{IMAGE}:image_embedding", TEXT: f"{TEXT}:text_embedding"}
IMAGE_VECTOR, TEXT_VECTOR, LOGIT_COLUMN = "image_embedding", "text_embedding", "logit_scale_bias"
# 2: JPEGs are decoded at the model's scale.
IMAGE_VERSION, TEXT_VERSION = 2, 1


class Embed(RowStage[EmbedSettings]):
    """Embeds and scores what is kept or waits for its scores."""

    name = "embed"
    help = "Embed and score what is kept or waits for its scores."
    resources: ClassVar = {"actors": 1}
    optional = True
    readable = True
    Settings = EmbedSettings
    chooses = "kept"

    def __init__(self, settings: EmbedSettings) -> None:
        super().__init__(settings)
        self._models = model_tables(settings)
        self.columns = (CAPTION, *(() if settings.model is None else STORED.values()))
        self._heads: Heads | None = None
        self._lanes: list[Lane] = []
        self._clock: Clock | None = None

    def missing(self) -> str | None:
        """The model."""
        if self._models:
            return None
        return "embed.model is not set; give nano, a folder, or a hub name with embed.revision"

    def tables(self) -> Sequence[TableSpec]:
        """None without a model. Raises RequestError when a model or the heads don't fit."""
        specs = [spec for each in self._models for spec in _vector_tables(each)]
        if self.settings.model is None:
            return specs
        specs.append(TableSpec(MATCH, SCHEMAS[MATCH], 1, inputs=(IMAGE, TEXT)))
        if self.settings.heads is not None:
            found = resolve_model(self.settings.heads, None, HEADS)
            heads = load_heads(found.location)
            heads.check(self._models[0].found())
            schema = pa.schema([(name, pa.float32()) for name in heads.heads])
            specs.append(TableSpec(SCORES, schema, 1, {"heads": found.revision}, (IMAGE,)))
        return specs

    def needs_image(self, row: Row) -> bool:
        """Only where a vector of it is not stored yet."""
        return any(each.image in row.wanted for each in self._models)

    def setup(self) -> None:
        """Loads the models and the heads."""
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
        if self.settings.heads is not None and self.settings.model is not None:
            self._heads = load_heads(resolve_model(self.settings.heads, None, HEADS).location)

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
        row, values = work.row, {}
        if self.settings.model is not None:
            # Vectors that are stored already are read from their columns.
            image, text = (
                work.vectors.get(table) if table in row.wanted else row.columns.get(column)
                for table, column in STORED.items()
            )
            values = self._values(image, text)
        for lane, each in zip(self._lanes, self._models, strict=True):
            image, text = work.vectors.get(each.image), work.vectors.get(each.text)
            values[each.image] = {
                each.column(IMAGE_VECTOR): image,
                each.column(LOGIT_COLUMN): lane.model.logit,
            }
            values[each.text] = {each.column(TEXT_VECTOR): text}
        return values

    def _values(self, image: Stored | None, text: Stored | None) -> dict[str, dict[str, Any]]:
        """The four tables' values of a row: both vectors, their cosine, and the heads' scores."""
        values: dict[str, dict[str, Any]] = {
            IMAGE: {"image_embedding": image},
            TEXT: {"text_embedding": text},
            MATCH: {"caption_cosine": None},
        }
        if image is None:  # its own row says why
            without = {"error": "no_embedding"}
            return {**values, MATCH: without, SCORES: without}
        # Of the vector in half precision, as it is stored: a later run that reads it from the table
        # gives the same scores.
        vector = image.astype(np.float32)
        vector /= np.linalg.norm(vector)
        if text is not None:
            other = text.astype(np.float32)
            values[MATCH] = {"caption_cosine": float(vector @ other / np.linalg.norm(other))}
        if self._heads is not None:
            scores = self._heads.scores(vector[None])
            values[SCORES] = {name: float(score[0]) for name, score in scores.items()}
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

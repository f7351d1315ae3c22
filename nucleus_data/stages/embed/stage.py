"""The stage `embed`: vectors of images and of the captions that they came with, and scores.

Four tables: `embed.image` and `embed.text` hold unit vectors, `embed.match` their cosine,
`embed.heads` what small networks say of the image's vector (how pleasant, how safe; whatever the
heads' folder names). Vectors are stored in half precision, and scores are of the stored vector:
other heads score a corpus again without its images.

    nucleus embed CORPUS embed.model=timm/ViT-SO400M-16-SigLIP2-512 embed.revision=4a0b…
"""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from nucleus_data.engines.clip import BATCH_ON_GPU, Clip, load_clip
from nucleus_data.engines.find import CLIP, HEADS, resolve_model
from nucleus_data.engines.heads import Heads, load_heads
from nucleus_data.pixels import PixelError, open_picture
from nucleus_data.stage import Result, Row, RowFailure, RowStage, TableSpec

IMAGE, TEXT, MATCH, SCORES = "embed.image", "embed.text", "embed.match", "embed.heads"
VECTOR = pa.list_(pa.float16())
SCHEMAS = {
    IMAGE: pa.schema([("image_embedding", VECTOR)]),
    TEXT: pa.schema([("text_embedding", VECTOR)]),
    MATCH: pa.schema([("caption_cosine", pa.float32())]),
}
CAPTION = "records:source.caption"
STORED = {IMAGE: f"{IMAGE}:image_embedding", TEXT: f"{TEXT}:text_embedding"}
Stored = NDArray[np.float16]


class EmbedSettings(BaseModel):
    """The embed stage: which model, and which heads on it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str | None = Field(
        default=None,
        description="nano, a folder as open_clip saves it, or a hub name; empty for no embedding.",
    )
    revision: str | None = Field(
        default=None, description="Commit or tag of a hub model; required for one."
    )
    heads: str | None = Field(
        default=None,
        description="nano, or a folder with heads.json and heads.safetensors; empty for none.",
    )
    precision: Literal["fp32", "bf16"] = Field(
        default="fp32", description="Of weights and layers; bf16 is for GPUs."
    )
    device: str = Field(
        default="cpu", description="Where it runs; equal bits are promised for cpu only."
    )


class Embed(RowStage[EmbedSettings]):
    """Embeds and scores what is kept or waits for its scores."""

    name = "embed"
    help = "Embed and score what is kept or waits for its scores."
    resources: ClassVar = {"actors": 1}
    optional = True
    readable = True
    Settings = EmbedSettings
    columns = (CAPTION, *STORED.values())
    chooses = "kept"

    def __init__(self, settings: EmbedSettings) -> None:
        super().__init__(settings)
        self._heads: Heads | None = None
        self._clip: Clip | None = None

    def missing(self) -> str | None:
        """The model."""
        if self.settings.model is not None:
            return None
        return "embed.model is not set; give nano, a folder, or a hub name with embed.revision"

    def tables(self) -> Sequence[TableSpec]:
        """None without a model. Raises RequestError when the model or the heads don't fit."""
        if self.settings.model is None:
            return []
        model = resolve_model(self.settings.model, self.settings.revision, CLIP)
        common = {
            "model": model.name,
            "revision": model.revision,
            "precision": self.settings.precision,
        }
        specs = [
            TableSpec(IMAGE, SCHEMAS[IMAGE], 1, common, ("records",)),
            TableSpec(TEXT, SCHEMAS[TEXT], 1, common, ("records",)),
            TableSpec(MATCH, SCHEMAS[MATCH], 1, inputs=(IMAGE, TEXT)),
        ]
        if self.settings.heads is not None:
            found = resolve_model(self.settings.heads, None, HEADS)
            heads = load_heads(found.location)
            heads.check(model)
            schema = pa.schema([(name, pa.float32()) for name in heads.heads])
            specs.append(TableSpec(SCORES, schema, 1, {"heads": found.revision}, (IMAGE,)))
        return specs

    def needs_image(self, row: Row) -> bool:
        """Only where the image's vector is not stored yet."""
        return IMAGE in row.wanted

    def setup(self) -> None:
        """Loads the model and the heads."""
        assert self.settings.model is not None
        model = resolve_model(self.settings.model, self.settings.revision, CLIP)
        self._clip = load_clip(model, self.settings.device, self.settings.precision)
        if self.settings.heads is not None:
            self._heads = load_heads(resolve_model(self.settings.heads, None, HEADS).location)

    def process(self, rows: Iterator[Row | None]) -> Iterator[Result | RowFailure]:
        """Embeds in batches; gives back what it holds when given None."""
        if self._clip is None:
            raise RuntimeError("setup() comes before process()")
        held: list[Row] = []
        for row in rows:
            if row is not None:
                held.append(row)
            if row is None or len(held) >= max(self._clip.batch, BATCH_ON_GPU):
                yield from self._embed(held)
                held = []
        yield from self._embed(held)

    def _embed(self, rows: Sequence[Row]) -> Iterator[Result | RowFailure]:
        """Embeds one batch; vectors that are stored already are read from their columns."""
        assert self._clip is not None  # process() checked it
        pictures, failures = {}, {}
        for row in rows:
            if self.needs_image(row):
                try:
                    pictures[row] = Image.fromarray(open_picture(row.image or b"").rgb())
                except PixelError as error:
                    failures[row] = RowFailure(row, str(error.reason), error.detail)
        captions = {
            row: caption
            for row in rows
            if TEXT in row.wanted and (caption := (row.columns.get(CAPTION) or "").strip())
        }
        images = _stored(pictures, self._clip.images(list(pictures.values())))
        texts = _stored(captions, self._clip.texts(list(captions.values())))
        for row in rows:
            if row in failures:
                yield failures[row]
                continue
            image, text = (
                made.get(row) if table in row.wanted else row.columns.get(STORED[table])
                for table, made in ((IMAGE, images), (TEXT, texts))
            )
            yield Result(row, self._values(image, text))

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


def _stored(rows: dict[Row, Any], vectors: NDArray[np.float32]) -> dict[Row, Stored]:
    return dict(zip(rows, vectors.astype(np.float16), strict=True))

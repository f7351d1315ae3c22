"""The stage `embed`: vectors of images and of the captions that they came with.

Two tables, `embed.image` and `embed.text`, hold unit vectors in half precision; the stage `score`
says something of them, without the images.

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
from nucleus_data.engines.find import CLIP, resolve_model
from nucleus_data.pixels import PixelError, open_picture
from nucleus_data.stage import Result, Row, RowFailure, RowStage, TableSpec

IMAGE, TEXT = "embed.image", "embed.text"
VECTOR = pa.list_(pa.float16())
SCHEMAS = {
    IMAGE: pa.schema([("image_embedding", VECTOR)]),
    TEXT: pa.schema([("text_embedding", VECTOR)]),
}
CAPTION = "records:source.caption"
Stored = NDArray[np.float16]
MOVED: dict[str, Any] = {"moved": {"heads": "score.heads"}}


class EmbedSettings(BaseModel):
    """The embed stage: which model."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=MOVED)

    model: str | None = Field(
        default=None,
        description="nano, a folder as open_clip saves it, or a hub name; empty for no embedding.",
    )
    revision: str | None = Field(
        default=None, description="Commit or tag of a hub model; required for one."
    )
    precision: Literal["fp32", "bf16"] = Field(
        default="fp32", description="Of weights and layers; bf16 is for GPUs."
    )
    device: str = Field(
        default="cpu", description="Where it runs; equal bits are promised for cpu only."
    )


class Embed(RowStage[EmbedSettings]):
    """Embeds what is kept or waits for its scores."""

    name = "embed"
    help = "Embed what is kept or waits for its scores."
    resources: ClassVar = {"actors": 1}
    optional = True
    readable = True
    Settings = EmbedSettings
    columns = (CAPTION,)
    chooses = "kept"

    def __init__(self, settings: EmbedSettings) -> None:
        super().__init__(settings)
        self._clip: Clip | None = None

    def missing(self) -> str | None:
        """The model."""
        if self.settings.model is not None:
            return None
        return "embed.model is not set; give nano, a folder, or a hub name with embed.revision"

    def tables(self) -> Sequence[TableSpec]:
        """None without a model. Raises RequestError when the model is not there."""
        if self.settings.model is None:
            return []
        model = resolve_model(self.settings.model, self.settings.revision, CLIP)
        common = {
            "model": model.name,
            "revision": model.revision,
            "precision": self.settings.precision,
        }
        return [TableSpec(name, SCHEMAS[name], 1, common, ("records",)) for name in (IMAGE, TEXT)]

    def needs_image(self, row: Row) -> bool:
        """Only where the image's vector is not stored yet."""
        return IMAGE in row.wanted

    def setup(self) -> None:
        """Loads the model."""
        assert self.settings.model is not None
        model = resolve_model(self.settings.model, self.settings.revision, CLIP)
        self._clip = load_clip(model, self.settings.device, self.settings.precision)

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
        """Embeds one batch."""
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
            vectors = {"image_embedding": images.get(row)}, {"text_embedding": texts.get(row)}
            yield Result(row, dict(zip((IMAGE, TEXT), vectors, strict=True)))


def _stored(rows: dict[Row, Any], vectors: NDArray[np.float32]) -> dict[Row, Stored]:
    return dict(zip(rows, vectors.astype(np.float16), strict=True))

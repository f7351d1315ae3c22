"""Locates and reads the stored vectors of embedding models."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nucleus_data.engines.clip import load_clip
from nucleus_data.engines.embedder import Embedder, Precision, Vectors
from nucleus_data.stages.embed.settings import model_tables
from nucleus_data.stages.embed.stage import Embed
from nucleus_data.stages.score.settings import MAIN

Present = NDArray[np.bool_]


@dataclass(frozen=True)
class Space:
    """The stored vectors of one model.

    Attributes:
        name: The model's name in `embed.models`; empty for that of `embed.model`.
    """

    name: str

    @property
    def shown(self) -> str:
        """The model's name for people, and in `score.calibration`."""
        return self.name or MAIN

    @property
    def prefix(self) -> str:
        """Prefix of the names of the model's columns."""
        return f"{self.name}_" if self.name else ""

    def table(self, kind: str) -> str:
        """Returns the name of the table of vectors; `kind` is `image` or `text`."""
        return f"embed.{kind}.{self.name}" if self.name else f"embed.{kind}"

    def vectors(self, kind: str) -> str:
        """Returns the path (`TABLE:COLUMN`) of the vectors; `kind` is `image` or `text`."""
        return f"{self.table(kind)}:{self.prefix}{kind}_embedding"

    @property
    def error(self) -> str:
        """Path (`TABLE:COLUMN`) of the reason why a picture has no vector."""
        return f"{self.table('image')}:error"


def spaces_of(embed: Embed) -> tuple[Space, ...]:
    """Returns the models of a configuration, that of `embed.model` first."""
    return tuple(Space(model.name) for model in model_tables(embed.settings))


def references(embed: Embed) -> Mapping[str, tuple[str, str]]:
    """Returns the name and revision of each model, by the name of its space.

    Raises:
        RequestError: A model can't be resolved.
    """
    about = {spec.name: spec.settings for spec in embed.tables()}
    return {
        space.name: (settings["model"], settings["revision"])
        for space in spaces_of(embed)
        for settings in [about[space.table("image")]]
    }


def text_tower(embed: Embed, space: Space, *, here: bool = False) -> Embedder:
    """Loads a model, to embed texts.

    Args:
        embed: The stage with the model.
        space: Identifies the model.
        here: Whether to load it on the CPU in full precision, whatever the settings; for few texts.
    """
    (model,) = (model for model in model_tables(embed.settings) if model.name == space.name)
    own = model.settings
    where: tuple[str, Precision] = ("cpu", "fp32") if here else (own.device, own.precision)
    return load_clip(model.found(), *where, own.library, None if here else model.batch)


def vectors_of(column: pa.ChunkedArray) -> tuple[Vectors, Present]:
    """Returns a column's vectors in float32.

    Args:
        column: N lists of numbers, any of which may be NULL.

    Returns:
        The M vectors that are not NULL, float32[M, D], or [0, 0] if all are; and bool[N], whether a
        row has a vector.

    Raises:
        ValueError: The vectors have different dimensions.
    """
    present = np.asarray(column.is_valid(), bool)
    if not present.any():
        return np.zeros((0, 0), np.float32), present
    lists = pa.chunked_array(column).combine_chunks().drop_null()
    lengths = np.unique(np.diff(lists.offsets.to_numpy()))
    if len(lengths) > 1:
        raise ValueError(f"a column has vectors of both {lengths[0]} and {lengths[-1]} numbers")
    numbers = lists.flatten().to_numpy(zero_copy_only=False)
    return numbers.reshape(len(lists), -1).astype(np.float32), present


def lengths_of(vectors: Vectors) -> Vectors:
    """Returns the lengths of vectors, [N, D] -> [N]; rows do not affect each other's bits."""
    return np.sqrt(np.vecdot(vectors, vectors))


def cosines(units: Vectors, vectors: Vectors) -> Vectors:
    """Returns the row-wise cosines of unit vectors, [N, D], and other vectors, [N, D]; [N]."""
    with np.errstate(invalid="ignore", divide="ignore"):  # a vector of zeros has no direction
        return np.asarray(np.vecdot(units, vectors) / lengths_of(vectors))


def unit_vectors(column: pa.ChunkedArray) -> tuple[Vectors, Present]:
    """Like `vectors_of`, but normalises the vectors.

    Stored vectors are in half precision, so their lengths differ slightly from one.
    """
    vectors, present = vectors_of(column)
    with np.errstate(invalid="ignore", divide="ignore"):
        vectors /= lengths_of(vectors)[:, None]
    return vectors, present


def spread(values: NDArray[Any], present: Present) -> pa.Array:
    """Returns an array with the values [M] in the M rows of `present`, and NULL in the others."""
    whole = np.zeros(len(present), values.dtype)
    whole[present] = values
    return pa.array(whole, mask=~present)

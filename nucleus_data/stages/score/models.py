"""The stored vectors of the embedding models: whose they are, where they lie, how they are read."""

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
    """The vectors of one model.

    Attributes:
        name: The model's name in `embed.models`; empty for that of `embed.model`.
    """

    name: str

    @property
    def shown(self) -> str:
        """Its name for people, and in `score.calibration`."""
        return self.name or MAIN

    @property
    def prefix(self) -> str:
        """What stands before the names of its columns."""
        return f"{self.name}_" if self.name else ""

    def table(self, kind: str) -> str:
        """The table of its vectors of `image` or `text`."""
        return f"embed.{kind}.{self.name}" if self.name else f"embed.{kind}"

    def vectors(self, kind: str) -> str:
        """The column of its vectors of `image` or `text`, as a stage names it."""
        return f"{self.table(kind)}:{self.prefix}{kind}_embedding"

    @property
    def error(self) -> str:
        """The column that says why a picture has no vector."""
        return f"{self.table('image')}:error"


def spaces_of(embed: Embed) -> tuple[Space, ...]:
    """The models of a configuration, that of `embed.model` first."""
    return tuple(Space(each.name) for each in model_tables(embed.settings))


def references(embed: Embed) -> Mapping[str, tuple[str, str]]:
    """Name and revision of each model, by the name of its space.

    Raises:
        RequestError: A model is not there.
    """
    about = {spec.name: spec.settings for spec in embed.tables()}
    return {
        space.name: (settings["model"], settings["revision"])
        for space in spaces_of(embed)
        for settings in [about[space.table("image")]]
    }


def text_tower(embed: Embed, space: Space, *, here: bool = False) -> Embedder:
    """A loaded model, for its `texts`.

    Args:
        embed: Whose model it is.
        space: Which one.
        here: On a CPU in full precision, wherever the pictures were embedded; for a few texts.
    """
    (found,) = (each for each in model_tables(embed.settings) if each.name == space.name)
    own = found.settings
    where: tuple[str, Precision] = ("cpu", "fp32") if here else (own.device, own.precision)
    return load_clip(found.found(), *where, own.library, None if here else found.batch)


def vectors_of(column: pa.ChunkedArray) -> tuple[Vectors, Present]:
    """A column's vectors in full precision.

    Args:
        column: Lists of numbers; some may be NULL, and all may.

    Returns:
        (M, D) of those that are there, and which (N,) these are.

    Raises:
        ValueError: They are of several lengths.
    """
    present = np.asarray(column.is_valid(), bool)
    if not present.any():
        return np.zeros((0, 0), np.float32), present
    lists = pa.chunked_array(column).combine_chunks().drop_null()
    lengths = np.unique(np.diff(lists.offsets.to_numpy()))
    if len(lengths) > 1:
        raise ValueError(f"vectors of {lengths[0]} and of {lengths[-1]} numbers in one column")
    numbers = lists.flatten().to_numpy(zero_copy_only=False)
    return numbers.reshape(len(lists), -1).astype(np.float32), present


def lengths_of(vectors: Vectors) -> Vectors:
    """(N,) lengths of (N, D) vectors, each as if it were alone."""
    return np.sqrt(np.vecdot(vectors, vectors))


def cosines(units: Vectors, vectors: Vectors) -> Vectors:
    """(N,) cosines of (N, D) unit vectors with vectors of any length."""
    with np.errstate(invalid="ignore", divide="ignore"):  # a vector of zeros has no direction
        return np.asarray(np.vecdot(units, vectors) / lengths_of(vectors))


def unit_vectors(column: pa.ChunkedArray) -> tuple[Vectors, Present]:
    """A column's vectors, divided by their lengths; as of `vectors_of`.

    The stored ones are in half precision, so their lengths are not quite one.
    """
    vectors, present = vectors_of(column)
    with np.errstate(invalid="ignore", divide="ignore"):
        vectors /= lengths_of(vectors)[:, None]
    return vectors, present


def spread(values: NDArray[Any], present: Present) -> pa.Array:
    """Values of those that are there, NULL for the others."""
    whole = np.zeros(len(present), values.dtype)
    whole[present] = values
    return pa.array(whole, mask=~present)

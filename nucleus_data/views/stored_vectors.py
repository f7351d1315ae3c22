"""Loads stored embeddings of some records into memory, to fit heads and calibrations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import Table
from nucleus_data.corpus.told import command as told
from nucleus_data.errors import RequestError
from nucleus_data.hashing import keyed_sql
from nucleus_data.runner.run import Run
from nucleus_data.stage import RowStage

MAIN = "main"  # the model of embed.model, whose tables have no name of their own
KINDS = ("image", "text")


@dataclass(frozen=True)
class StoredModel:
    """A model with stored embeddings.

    Attributes:
        name: `main`, or its name in `embed.models`.
        model: The model's name on the hub, or its folder.
        revision: The model's revision.
        tables: `image` and `text` -> the table, and its column with the embeddings.
    """

    name: str
    model: str
    revision: str
    tables: dict[str, tuple[Table, str]]

    @property
    def setting(self) -> str:
        """The setting that names the model."""
        return "embed.model" if self.name == MAIN else f"embed.models.{self.name}"


def stored_model(
    run: Run, embed: RowStage[Any], name: str, kinds: Sequence[str] = KINDS
) -> StoredModel:
    """Returns a model with its stored embeddings.

    Args:
        run: The run, whose pins determine the tables.
        embed: The stage that makes the embeddings.
        name: `main`, or a name in `embed.models`.
        kinds: The required tables: `image`, `text`.

    Raises:
        RequestError: The configuration has no such model, or its vectors were not made.
    """
    specs = {spec.name: spec for spec in embed.tables()}
    tables, spec = {}, None
    for kind in kinds:
        table = f"embed.{kind}" if name == MAIN else f"embed.{kind}.{name}"
        spec = specs.get(table)
        if spec is None:
            begin = f"embed.{kind}"
            known = [MAIN if s == begin else s[len(begin) + 1 :] for s in specs if begin in s]
            if not known and (missing := embed.missing()):
                raise RequestError(missing)
            raise RequestError(
                f"--model {name}: the configuration has no such embedding model; "
                f"available: {', '.join(known) or 'none'}"
            )
        found = run.corpus.at(table, run.tables[table])
        if not found.whole_parts():
            raise RequestError(
                f"{run.corpus.uri} has no vectors ({table}) by {spec.settings['model']!r}, "
                f"revision {spec.settings['revision']!r}; run: {told('embed', run.corpus.uri)}"
            )
        column = next(c for c in spec.schema.names if c.endswith(f"{kind}_embedding"))
        tables[kind] = (found, column)
    assert spec is not None, "kinds is not empty"
    return StoredModel(name, str(spec.settings["model"]), str(spec.settings["revision"]), tables)


def captioned_ids(corpus: Corpus, model: StoredModel, most: int, seed: int) -> list[str]:
    """Returns ids of records with an embedded caption, at most `most`, in a keyed order."""
    table, column = model.tables["text"]
    rows = corpus.connection().execute(
        f'select id from {table.sql()} where "{column}" is not null '
        f"order by {keyed_sql(f'calibrate:{seed}:', 'id')}, id limit ?",
        [most],
    )
    return [row[0] for row in rows.fetchall()]


def unit_vectors(
    corpus: Corpus, stored: tuple[Table, str], ids: Sequence[str]
) -> tuple[np.ndarray, NDArray[np.float64]]:
    """Loads the embeddings of some records, normalized to unit length.

    Args:
        corpus: The corpus.
        stored: A table, and its column with the embeddings.
        ids: Ids of the records, without duplicates.

    Returns:
        (K,) places in `ids` of those that have one, ascending; and (K, D) their vectors.
        In double precision, in which other processors' sums differ by less than a file shows.
    """
    table, column = stored
    wanted = pa.table(
        {"id": pa.array(ids, pa.string()), "place": np.arange(len(ids), dtype=np.int64)}
    )
    connection = corpus.connection()
    connection.register("wanted", wanted)
    try:
        found = connection.sql(
            f'select place, "{column}" as vector from {table.sql()} join wanted using (id) '
            f'where "{column}" is not null'
        ).to_arrow_table()
    finally:
        connection.unregister("wanted")
    places = found.column("place").to_numpy()
    flat = found.column("vector").combine_chunks().flatten()
    width = len(flat) // max(len(places), 1)
    vectors = flat.to_numpy(zero_copy_only=False).astype(np.float64).reshape(len(places), width)
    order = np.argsort(places, kind="stable")
    places, vectors = places[order], vectors[order]
    lengths = np.linalg.norm(vectors, axis=1)
    whole = (lengths > 0) & np.isfinite(lengths)  # one of zeros has no direction
    return places[whole], vectors[whole] / lengths[whole, None]

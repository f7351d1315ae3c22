"""Index columns: scores, quality tier and curriculum bucket of a set's samples."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import Table
from nucleus_data.runner.pins import Pins
from nucleus_data.runner.stored import read_columns
from nucleus_data.sets.columns import PLACED
from nucleus_data.stages.shard.chosen import SELECTION

SCORES = "embed."  # prefix of the tables of scores

Scores = Mapping[str, Sequence[pa.Field]]


def scores_of(corpus: Corpus, pins: Pins, tables: Mapping[str, str]) -> dict[str, list[pa.Field]]:
    """Returns table -> columns, for all tables of scores that have any rows."""
    scores: dict[str, list[pa.Field]] = {}
    for name in sorted(pins.readable):
        if name.startswith(SCORES) and corpus.at(name, tables[name]).part_names():
            columns = [c for c in pins.specs[name].schema if not pa.types.is_nested(c.type)]
            scores[name] = columns
    return scores


def schema_of(scores: Scores) -> pa.Schema:
    """Returns the schema of a file of columns."""
    fields = [pa.field(name, pa.string()) for name in ("id", *PLACED)]
    return pa.schema([*fields, *(column for columns in scores.values() for column in columns)])


@dataclass(frozen=True)
class Placement:
    """The values of `aligned.Values` for index columns: tier, curriculum bucket, scores.

    Attributes:
        tables: Config hash of every table that is read.
        scores: Tables of scores -> their columns.
    """

    tables: Mapping[str, str]
    scores: Scores

    @property
    def schema(self) -> pa.Schema:
        """Schema of a file beside a tar."""
        return schema_of(self.scores)

    def counts(self, rows: pa.Table) -> Counter[str]:
        """Returns no counts."""
        return Counter()

    def read(self, corpus: Corpus, shard: int, rows: np.ndarray) -> pa.Table:
        """Reads the columns of some records of a shard, without `id`."""

        def open_table(name: str) -> Table:
            return corpus.at(name, self.tables[name])

        paths = [f"{SELECTION}:{name}" for name in PLACED]
        paths += [f"{name}:{c.name}" for name, columns in self.scores.items() for c in columns]
        values = read_columns(open_table, shard, paths, rows)
        fields = list(schema_of(self.scores))[1:]
        return values.rename_columns([field.name for field in fields]).cast(pa.schema(fields))


def about(tables: Mapping[str, str], scores: Scores) -> dict[str, Any]:
    """Returns the content of `columns.json`."""
    names = {name: tables[name] for name in (SELECTION, *scores)}
    return {"tables": names, "names": schema_of(scores).names[1:]}

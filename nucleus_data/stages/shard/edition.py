"""Caption editions: which captions a record has, and the files beside the tars."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.caption_sets import SOURCE, CaptionSet, labels
from nucleus_data.corpus.tables import Table
from nucleus_data.runner.stored import read_columns
from nucleus_data.runner.work import Summary
from nucleus_data.sets.editions import EDITION_SCHEMA
from nucleus_data.sets.layout import SetFolder
from nucleus_data.stage import Condition

WEB = "web"  # what an edition calls `source`
UPSTREAM = "records:source.caption"


@dataclass(frozen=True)
class Composition:
    """What captions a record has in an edition.

    Attributes:
        sets: Where they are from, lowest to highest quality.
        tables: Config hash of every table that is read.
        preserve: Of which records the caption that they came with is taken; None for all.
    """

    sets: tuple[CaptionSet, ...]
    tables: Mapping[str, str]
    preserve: Condition | None = None

    def captions(self, corpus: Corpus, shard: int, rows: np.ndarray) -> pa.Table:
        """The captions of some records of a shard.

        Args:
            corpus: The corpus.
            shard: The image shard.
            rows: The rows, ascending.

        Returns:
            `captions` and `caption_sources`, as in `EDITION_SCHEMA`.
        """
        texts: list[list[str | None]] = []
        origins: list[list[str | None]] = []
        for one, label in zip(self.sets, labels(self.sets), strict=True):
            if one.variant == SOURCE:
                found = _texts(read_columns(self._open(corpus), shard, [UPSTREAM], rows), UPSTREAM)
                found = pc.utf8_trim_whitespace(found)
                taken = pc.and_(pc.not_equal(found, ""), self._preserved(corpus, shard, rows))
                texts.append(pc.if_else(taken, found, None).to_pylist())
                origins.append([WEB] * len(rows))
                continue
            paths = ["made:caption", "made:source"]
            read = read_columns(
                lambda _, one=one: corpus.at(one.table, one.config_hash), shard, paths, rows
            )
            texts.append(_texts(read, paths[0]).to_pylist())
            origins.append([f"{made}:{label}" for made in _texts(read, paths[1]).to_pylist()])
        captions, sources = [], []
        for i in range(len(rows)):
            mine = [n for n in range(len(texts)) if texts[n][i] is not None]
            captions.append([texts[n][i] for n in mine])
            sources.append([origins[n][i] for n in mine])
        fields = [EDITION_SCHEMA.field(n) for n in ("captions", "caption_sources")]
        return pa.table([captions, sources], schema=pa.schema(fields))

    def _preserved(self, corpus: Corpus, shard: int, rows: np.ndarray) -> Any:
        """Of which records the caption that they came with is kept; not where it is not known."""
        if self.preserve is None:
            return pa.array(np.ones(len(rows), bool))
        known = np.ones(len(rows), bool)
        for name in {path.partition(":")[0] for path in self.preserve.columns}:
            known &= np.isin(rows, self._open(corpus)(name).covered(shard))
        columns = read_columns(self._open(corpus), shard, self.preserve.columns, rows[known])
        if not columns.num_columns:  # a condition on nothing
            columns = pa.table({"": pa.nulls(int(known.sum()))})
        kept = known.copy()
        kept[known] = pc.fill_null(self.preserve.answers(columns), False).to_numpy()
        return pa.array(kept)

    def _open(self, corpus: Corpus) -> Callable[[str], Table]:
        return lambda name: corpus.at(name, self.tables[name])


@dataclass(frozen=True)
class EditionTask:
    """Writes the captions beside all tars (a task of the runner).

    Attributes:
        uri: The corpus.
        storage_options: For fsspec.
        folder: The training set.
        edition: Config hash of the edition.
        composition: Which captions a record has.
    """

    uri: str
    storage_options: Mapping[str, Any]
    folder: str
    edition: str
    composition: Composition

    def run(self, number: int) -> Summary:
        """Writes the edition's files, unless they are there."""
        corpus = Corpus(self.uri, self.storage_options)
        folder = SetFolder(corpus.store, self.folder)
        edition, summary = folder.new_edition(self.edition), Summary()
        tars = [(tar.path, folder.index(tar.path)) for tar in folder.manifest()]
        for path, rows in beside(corpus, tars, self.composition.captions, EDITION_SCHEMA):
            summary.rows += rows.num_rows
            summary.done += rows.num_rows
            summary.extra.update(counts_of(rows))
            edition.write(path, rows)
        return summary


def beside(
    corpus: Corpus, tars: Sequence[tuple[str, pa.Table]], read: Any, schema: pa.Schema
) -> Any:
    """Values of the records of tars, in each tar's order."""
    places = pa.concat_tables([index.select(["shard", "row", "id"]) for _, index in tars])
    shards = places.column("shard").to_numpy()
    numbers = places.column("row").to_numpy()
    found: dict[int, tuple[np.ndarray, pa.Table]] = {}
    for shard in np.unique(shards).tolist():
        rows = np.unique(numbers[shards == shard])
        found[shard] = rows, read(corpus, shard, rows)
    for path, index in tars:
        parts = [
            found[s][1].slice(int(np.searchsorted(found[s][0], r)), 1)
            for s, r in zip(index["shard"].to_pylist(), index["row"].to_pylist(), strict=True)
        ]
        values = pa.concat_tables(parts) if parts else schema.empty_table()
        yield (
            path,
            pa.table(
                [index.column("id"), *(values.column(n) for n in schema.names[1:])], schema=schema
            ),
        )


def counts_of(rows: pa.Table) -> Counter[str]:
    """What `edition.json` counts, of some rows."""
    lengths = pc.list_value_length(rows.column("captions"))
    sources = pc.list_flatten(rows.column("caption_sources"))
    found = Counter(
        {
            "samples": rows.num_rows,
            "captions": int(pc.sum(lengths).as_py() or 0),
            "without": int(pc.sum(pc.equal(lengths, 0)).as_py() or 0),
        }
    )
    for item in sources.value_counts().to_pylist():
        found[f"mix {item['values']}"] += item["counts"]
    return found


def about(name: str, sets: Sequence[CaptionSet], counts: Mapping[str, int]) -> dict[str, Any]:
    """What `edition.json` says.

    Args:
        name: The edition's, for people.
        sets: Where its captions are from.
        counts: The sum of `counts_of`.
    """
    made = [f"{one.variant}@{one.config_hash}" if one.config_hash else SOURCE for one in sets]
    mix = {n.removeprefix("mix "): c for n, c in sorted(counts.items()) if n.startswith("mix ")}
    numbers = {n: counts.get(n, 0) for n in ("samples", "captions", "without")}
    return {"name": name, "tables": made, "mix": mix, **numbers}


def _texts(table: pa.Table, path: str) -> Any:
    column = table.column(path)
    return column if pa.types.is_string(column.type) else column.cast(pa.string())

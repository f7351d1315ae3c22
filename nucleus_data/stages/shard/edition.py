"""Caption editions: which captions a record has (`aligned` brings them beside the tars)."""

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
from nucleus_data.sets.editions import EDITION_SCHEMA
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

    @property
    def schema(self) -> pa.Schema:
        """Of a file beside a tar."""
        return EDITION_SCHEMA

    def counts(self, rows: pa.Table) -> Counter[str]:
        """What `edition.json` counts, of some rows."""
        return counts_of(rows)

    def read(self, corpus: Corpus, shard: int, rows: np.ndarray) -> pa.Table:
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
            made = corpus.at(one.table, one.config_hash)
            read = read_columns({"made": made}.__getitem__, shard, paths, rows)
            texts.append(_texts(read, paths[0]).to_pylist())
            origins.append([f"{origin}:{label}" for origin in _texts(read, paths[1]).to_pylist()])
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

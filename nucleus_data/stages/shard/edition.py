"""Caption editions: reads the captions of records (`aligned` writes them beside the tars)."""

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

WEB = "web"  # the label of `source` captions in an edition
UPSTREAM = "records:source.caption"


@dataclass(frozen=True)
class Composition:
    """The values of `aligned.Values` for an edition: the captions of each record.

    Attributes:
        sets: The caption sets, from lowest to highest quality.
        tables: Config hash of every table that is read.
        preserve: Condition for records whose upstream caption is used; None for all.
    """

    sets: tuple[CaptionSet, ...]
    tables: Mapping[str, str]
    preserve: Condition | None = None

    @property
    def schema(self) -> pa.Schema:
        """Schema of a file beside a tar."""
        return EDITION_SCHEMA

    def counts(self, rows: pa.Table) -> Counter[str]:
        """Counts some rows, for `edition.json`."""
        return counts_of(rows)

    def read(self, corpus: Corpus, shard: int, rows: np.ndarray) -> pa.Table:
        """Reads the captions of some records of a shard.

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
            present = [n for n in range(len(texts)) if texts[n][i] is not None]
            captions.append([texts[n][i] for n in present])
            sources.append([origins[n][i] for n in present])
        fields = [EDITION_SCHEMA.field(n) for n in ("captions", "caption_sources")]
        return pa.table([captions, sources], schema=pa.schema(fields))

    def _preserved(self, corpus: Corpus, shard: int, rows: np.ndarray) -> Any:
        """Returns a mask of records whose upstream caption is used; False if not yet known."""
        if self.preserve is None:
            return pa.array(np.ones(len(rows), bool))
        known = np.ones(len(rows), bool)
        for name in {path.partition(":")[0] for path in self.preserve.columns}:
            known &= np.isin(rows, self._open(corpus)(name).covered(shard))
        columns = read_columns(self._open(corpus), shard, self.preserve.columns, rows[known])
        if not columns.num_columns:  # a condition that reads no columns
            columns = pa.table({"": pa.nulls(int(known.sum()))})
        kept = known.copy()
        kept[known] = pc.fill_null(self.preserve.answers(columns), False).to_numpy()
        return pa.array(kept)

    def _open(self, corpus: Corpus) -> Callable[[str], Table]:
        return lambda name: corpus.at(name, self.tables[name])


def counts_of(rows: pa.Table) -> Counter[str]:
    """Counts samples and captions of some rows, for `edition.json`."""
    lengths = pc.list_value_length(rows.column("captions"))
    sources = pc.list_flatten(rows.column("caption_sources"))
    counts = Counter(
        {
            "samples": rows.num_rows,
            "captions": int(pc.sum(lengths).as_py() or 0),
            "without": int(pc.sum(pc.equal(lengths, 0)).as_py() or 0),
        }
    )
    for item in sources.value_counts().to_pylist():
        counts[f"mix {item['values']}"] += item["counts"]
    return counts


def about(name: str, sets: Sequence[CaptionSet], counts: Mapping[str, int]) -> dict[str, Any]:
    """Returns the content of `edition.json`.

    Args:
        name: The edition's name, for people.
        sets: Its caption sets.
        counts: The sum of `counts_of` over all rows.
    """
    made = [f"{one.variant}@{one.config_hash}" if one.config_hash else SOURCE for one in sets]
    mix = {n.removeprefix("mix "): c for n, c in sorted(counts.items()) if n.startswith("mix ")}
    numbers = {n: counts.get(n, 0) for n in ("samples", "captions", "without")}
    return {"name": name, "tables": made, "mix": mix, **numbers}


def _texts(table: pa.Table, path: str) -> Any:
    column = table.column(path)
    return column if pa.types.is_string(column.type) else column.cast(pa.string())

"""Writes values of records (captions, scores) to files beside the tars, in the tars' order.

This is a distributed join in three phases. A piece is some image shards:

| phase | one task handles | reads | writes, below `_work/` |
|---|---|---|---|
| places | a group of tars | their indexes | `places/`: positions of records, by piece |
| values | a piece | `places/`, the tables of its shards | `values/`, by group of tars |
| write | a group of tars | its part of each file in `values/` | the file beside each tar |

So each table is read only once, shard by shard, whatever tars its records are in.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.dealing import READS_AT_ONCE, collect, deal
from nucleus_data.runner.work import Summary
from nucleus_data.sets.beside import Beside
from nucleus_data.sets.layout import SetFolder, TarEntry

PHASES = ("places", "values", "write")
WORK = "_work"
TARS_A_GROUP = 64
PLACES_SCHEMA = pa.schema(
    [
        ("shard", pa.int32()),
        ("row", pa.int32()),
        ("tar", pa.int32()),
        ("position", pa.int32()),
        ("id", pa.string()),
    ]
)
_KEYS = ("tar", "position", "id")


class Values(Protocol):
    """The values to write beside the tars."""

    @property
    def schema(self) -> pa.Schema:
        """Schema of a file beside a tar; `id` is the first column."""

    def read(self, corpus: Corpus, shard: int, rows: np.ndarray) -> pa.Table:
        """Reads the values of ascending rows of a shard: the schema without `id`."""

    def counts(self, rows: pa.Table) -> Counter[str]:
        """Returns the counts to report about a file beside a tar."""


@dataclass(frozen=True)
class Alignment:
    """Writes files beside all tars of a set; each phase is a task for the runner.

    Attributes:
        uri: The corpus.
        storage_options: Options for fsspec.
        folder: The training set.
        beside: Folder of the files below the set: an edition, or columns.
        values: The values to write.
        pieces: The image shards, divided into pieces.
        tars: Number of tars of the set.
        phase: The phase.
    """

    uri: str
    storage_options: Mapping[str, Any]
    folder: str
    beside: str
    values: Values
    pieces: tuple[tuple[int, ...], ...]
    tars: int
    phase: str = ""

    def at(self, phase: str) -> "Alignment":
        """Returns the task of one phase."""
        return replace(self, phase=phase)

    @property
    def groups(self) -> int:
        """Number of groups of tars."""
        return -(-self.tars // TARS_A_GROUP)

    @property
    def items(self) -> int:
        """Number of items of the phase."""
        return len(self.pieces) if self.phase == "values" else self.groups

    def run(self, number: int) -> Summary:
        """Processes one item of the phase."""
        work: Callable[[int], Summary] = getattr(self, f"_{self.phase}")
        return work(number)

    @property
    def work(self) -> str:
        """Folder of the phases' intermediate files, below the store."""
        return f"{self.folder}/{self.beside}/{WORK}"

    def _places(self, number: int) -> Summary:
        """Reads the indexes of a group of tars, and deals the positions of records to pieces."""
        folder, name = self._set(), f"{self.work}/places/{number:06d}"
        if folder.store.exists(name):
            return Summary()

        def places(numbered: tuple[int, TarEntry]) -> pa.Table:
            tar, entry = numbered
            index = folder.index(entry.path)
            numbers = {"tar": np.full(index.num_rows, tar), "position": np.arange(index.num_rows)}
            columns = {n: index.column(n) for n in ("shard", "row", "id")}
            return pa.table({**columns, **numbers}).select(PLACES_SCHEMA.names).cast(PLACES_SCHEMA)

        with ThreadPoolExecutor(READS_AT_ONCE) as pool:
            rows = pa.concat_tables(pool.map(places, self._group(folder, number)))
        firsts = [piece[0] for piece in self.pieces]
        piece = np.searchsorted(firsts, rows.column("shard").to_numpy(), side="right") - 1
        deal(folder.store, name, rows, piece, len(self.pieces))
        return Summary()

    def _values(self, number: int) -> Summary:
        """Reads the values of a piece's records, and deals them to groups of tars."""
        corpus, name = self._corpus(), f"{self.work}/values/{number:06d}"
        if corpus.store.exists(name):
            return Summary()
        names = [f"{self.work}/places/{n:06d}" for n in range(self.groups)]
        places = collect(corpus.store, names, number, len(self.pieces), PLACES_SCHEMA)
        places = places.sort_by([("shard", "ascending"), ("row", "ascending")])
        shards = places.column("shard").to_numpy()
        distinct = np.unique(shards)
        starts = np.searchsorted(shards, [*distinct, np.inf])

        def values(i: int) -> pa.Table:
            of_shard = places.slice(starts[i], starts[i + 1] - starts[i])
            # A record may be in a tar of each resolution, but its values are read only once.
            rows, place = np.unique(of_shard.column("row").to_numpy(), return_inverse=True)
            read = self.values.read(corpus, int(distinct[i]), rows).take(pa.array(place))
            for at, key in enumerate(_KEYS):
                read = read.add_column(at, key, of_shard.column(key))
            return read.cast(self._schema)

        with ThreadPoolExecutor(READS_AT_ONCE // 4) as pool:
            tables = [self._schema.empty_table(), *pool.map(values, range(len(distinct)))]
        rows = pa.concat_tables(tables)
        group = rows.column("tar").to_numpy() // TARS_A_GROUP
        deal(corpus.store, name, rows, group, self.groups)
        return Summary()

    def _write(self, number: int) -> Summary:
        """Writes the files beside the tars of a group."""
        folder = self._set()
        names = [f"{self.work}/values/{n:06d}" for n in range(len(self.pieces))]
        rows = collect(folder.store, names, number, self.groups, self._schema)
        rows = rows.sort_by([("tar", "ascending"), ("position", "ascending")])
        target = Beside(folder.store, folder.name(self.beside), "")
        summary = Summary()
        for tar, entry in self._group(folder, number):
            of_tar = rows.filter(pc.equal(rows.column("tar"), tar))
            of_tar = of_tar.select(self.values.schema.names).combine_chunks()
            summary.bytes += target.write(entry.path, of_tar)
            summary.rows += of_tar.num_rows
            summary.extra.update(self.values.counts(of_tar))
        summary.done = summary.rows
        return summary

    @property
    def _schema(self) -> pa.Schema:
        keys = [PLACES_SCHEMA.field(key) for key in _KEYS]
        return pa.schema([*keys, *list(self.values.schema)[1:]])

    def _group(self, folder: SetFolder, number: int) -> list[tuple[int, TarEntry]]:
        """Returns the tars of a group, with their numbers."""
        first = number * TARS_A_GROUP
        return list(enumerate(folder.manifest()[first : first + TARS_A_GROUP], first))

    def _corpus(self) -> Corpus:
        return Corpus(self.uri, self.storage_options)

    def _set(self) -> SetFolder:
        return SetFolder(self._corpus().store, self.folder)

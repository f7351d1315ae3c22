"""What `dedup` reads, shard by shard: of the corpus, and of those that it is compared against."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from nucleus_data.corpus import RECORDS_HASH, Corpus
from nucleus_data.dedup.rows import RECORD, Rows, records_of
from nucleus_data.errors import RequestError
from nucleus_data.runner.rows import sample_rows
from nucleus_data.tables import Table

MEASURED = {
    "width": pa.int32(),
    "height": pa.int32(),
    "phash": pa.uint64(),
    "hash256": pa.binary(32),
}
READS = {"inspect.file": ("width", "height"), "inspect.hash": ("phash", "hash256")}


@dataclass(frozen=True)
class Source:
    """One corpus, and which of its records are compared.

    Attributes:
        number: 0 for the own corpus, then those of `dedup.against` in their order.
        uri: Where it is.
        storage_options: For fsspec.
        tables: Config hashes of the tables in `READS`.
        shards: Its shards, ascending.
        limits: Shard -> number of records, where fewer than all are compared.
        sample: Share of the records that are compared.
    """

    number: int
    uri: str
    storage_options: Mapping[str, Any]
    tables: Mapping[str, str]
    shards: Sequence[int]
    limits: Mapping[int, int] | None = None
    sample: float = 1.0

    def read(self, shards: Sequence[int]) -> Rows:
        """`RECORD` rows of some shards, by place."""
        corpus = Corpus(self.uri, self.storage_options)
        parts = [records_of(self._shard(corpus, shard), self.number) for shard in shards]
        return np.concatenate([np.empty(0, RECORD), *parts])

    def records(self) -> int:
        """About how many records there are, by the first shard and the last."""
        corpus = Corpus(self.uri, self.storage_options)
        seen = [
            len(corpus.records.covered(shard)) for shard in (*self.shards[:1], *self.shards[-1:])
        ]
        return max(seen, default=0) * len(self.shards)

    def _shard(self, corpus: Corpus, shard: int) -> pa.Table:
        records = corpus.records.read(shard, ["shard", "row", "id", "sha256"])
        assert records is not None
        records = sample_rows(records, self.sample)
        if self.limits is not None:
            records = records.slice(0, self.limits.get(shard, 0))
        for name, columns in READS.items():
            table = Table(corpus.store, name, self.tables[name]).read(shard, ["row", *columns])
            if table is None:
                fields = [pa.field(column, MEASURED[column]) for column in columns]
                table = pa.schema([pa.field("row", pa.int32()), *fields]).empty_table()
            records = records.join(table, "row", join_type="left outer")
        return records


def other_sources(
    against: Mapping[str, str], storage_options: Mapping[str, Any], tables: Mapping[str, str]
) -> list[Source]:
    """The corpora of `dedup.against`, whose tables must be of the same config hashes.

    Raises:
        RequestError: There is no such corpus, or it was measured with other settings.
    """
    found = []
    for number, (name, uri) in enumerate(against.items(), 1):
        corpus = Corpus(uri, storage_options)
        for table in READS:
            if tables[table] not in corpus.config_hashes(table):
                raise RequestError(
                    f"dedup.against.{name}: {uri} has no table {table}/{tables[table]}: it was not "
                    "measured with the same settings. Run `nucleus inspect` on it with this "
                    f"configuration and corpus={uri}"
                )
        hashes = {table: tables[table] for table in READS}
        found.append(Source(number, uri, storage_options, hashes, corpus.shards()))
    return found


def parts_of(sources: Sequence[Source]) -> list[str]:
    """A hash of each source's tables as they are now, for a config hash."""
    found = []
    for source in sources:
        corpus = Corpus(source.uri, source.storage_options)
        read = {name: source.tables[name] for name in READS}
        found.append(corpus.parts_hash({"records": RECORDS_HASH, **read}))
    return found

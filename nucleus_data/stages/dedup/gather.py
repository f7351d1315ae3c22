"""Reads what `dedup` compares, shard by shard: from the corpus, and those it is compared to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nucleus_data.corpus import RECORDS_HASH, Corpus
from nucleus_data.corpus.at_once import at_once
from nucleus_data.corpus.damaged import DamagedError
from nucleus_data.corpus.record_counts import record_count
from nucleus_data.corpus.tables import Table
from nucleus_data.corpus.told import command as told
from nucleus_data.errors import RequestError
from nucleus_data.runner.candidates import sample_rows
from nucleus_data.stages.dedup.rows import RECORD, Rows, records_of
from nucleus_data.stages.dedup.settings import DedupSettings

MEASURED = {
    "width": pa.int32(),
    "height": pa.int32(),
    "phash": pa.uint64(),
    "hash256": pa.binary(32),
}
# Value of `dedup.hashes` -> table -> compared value -> the table's column.
READS: dict[str, dict[str, dict[str, str]]] = {
    "upright": {
        "inspect.file": {"width": "width", "height": "height"},
        "inspect.hash": {"phash": "phash", "hash256": "hash256"},
    },
    "canonical": {"inspect.canonical": {name: f"canonical_{name}" for name in MEASURED}},
}


READ_AT_ONCE = 16  # shards that are read concurrently, each with several tables


@dataclass(frozen=True)
class ComparedCorpus:
    """A corpus, and which of its records are compared.

    Attributes:
        number: 0 for the own corpus, then 1 and up for those of `dedup.against`, in order.
        uri: Path or URL of the corpus.
        storage_options: Options for fsspec.
        hashes: The hashes to compare, a key of `READS`.
        tables: Table name -> config hash, of the tables that have them.
        shards: Its shards, ascending.
        limits: Shard -> number of records to compare; None for all.
        sample: Share of the records to compare, 0 to 1.
        asker: The own corpus, if this is another one: messages suggest to use its configuration.
    """

    number: int
    uri: str
    storage_options: Mapping[str, Any]
    hashes: str
    tables: Mapping[str, str]
    shards: Sequence[int]
    limits: Mapping[int, int] | None = None
    sample: float = 1.0
    asker: str = ""

    def read(self, shards: Sequence[int]) -> Rows:
        """Reads some shards as `RECORD` rows, ordered by place."""
        corpus = Corpus(self.uri, self.storage_options)

        def one(shard: int) -> Rows:
            return records_of(self._shard(corpus, shard), self.number)

        parts = at_once(corpus.store, one, shards, READ_AT_ONCE)
        return np.concatenate([np.empty(0, RECORD), *parts])

    def records(self) -> int:
        """Returns the number of records, including those that are not compared."""
        corpus = Corpus(self.uri, self.storage_options)
        try:
            return record_count(corpus.records)
        except DamagedError:  # the task that reads the shard raises an error with the file's name
            damaged = corpus.damaged("records", RECORDS_HASH)
            return record_count(corpus.without(damaged).records)

    def _shard(self, corpus: Corpus, shard: int) -> pa.Table:
        """Reads a shard's records with their hashes, null if an image is not measured."""
        records = corpus.records.read(shard, ["shard", "row", "id", "sha256", "error"])
        assert records is not None
        images = records.filter(records.column("error").is_null()).column("row").to_numpy()
        records = records.drop_columns(["error"])
        records = sample_rows(records, self.sample)
        if self.limits is not None:
            records = records.slice(0, self.limits.get(shard, 0))
        for name, columns in READS[self.hashes].items():
            wanted = ["row", *columns.values()]
            table = Table(corpus.store, name, self.tables[name]).read(shard, wanted)
            if table is None:
                fields = [pa.field(column, MEASURED[name]) for name, column in columns.items()]
                table = pa.schema([pa.field("row", pa.int32()), *fields]).empty_table()
            if self.number:
                self._check_measured(shard, name, images, table.column("row").to_numpy())
            table = table.select(wanted).rename_columns(["row", *columns])
            records = records.join(table, "row", join_type="left outer")
        return records

    def _check_measured(
        self, shard: int, table: str, images: NDArray[Any], measured: NDArray[Any]
    ) -> None:
        """Raises RequestError if images of another corpus are not measured.

        Otherwise, their copies in the own corpus would be missed without a message.
        """
        missing = np.count_nonzero(~np.isin(images, measured))
        if missing:
            raise RequestError(
                f"dedup.against: {missing} of {len(images)} images of shard {shard:06d} of "
                f"{self.uri} are not in its table {table}/{self.tables[table]}, so copies of them "
                f"would not be found; run: {told('inspect', self.uri, like=self.asker)}"
            )


def other_corpora(
    own: Corpus, settings: DedupSettings, tables: Mapping[str, str]
) -> list[ComparedCorpus]:
    """Opens the corpora of `dedup.against`, whose tables must have the same config hashes.

    Args:
        own: The corpus that is compared with them, in the same kind of store.
        settings: What counts as near.
        tables: Table name -> config hash, of the own corpus.

    Raises:
        RequestError: There is no such corpus, it is the own one, or it was measured with other
            settings.
    """
    storage_options = own.store.storage_options
    corpora = []
    for number, (name, uri) in enumerate(settings.against.items(), 1):
        try:
            corpus = Corpus(uri, storage_options)
        except RequestError as error:
            raise RequestError(f"dedup.against.{name}: {error}") from error
        if _place(corpus) == _place(own):
            raise RequestError(
                f"dedup.against.{name}: {uri} is the corpus itself, so nothing would be left"
            )
        read = {table: tables[table] for table in READS[settings.hashes]}
        for table, hashed in read.items():
            if hashed not in corpus.config_hashes(table):
                raise RequestError(
                    f"dedup.against.{name}: {uri} has no table {table}/{hashed}: it was not "
                    "measured with the same settings; "
                    f"run: {told('inspect', uri, like=own.uri)}"
                )
        shards = corpus.shards()
        compared = ComparedCorpus(number, uri, storage_options, settings.hashes, read, shards)
        corpora.append(replace(compared, asker=own.uri))
    return corpora


def _place(corpus: Corpus) -> str:
    """Returns the location of a corpus in a normal form, however its path is written."""
    store = corpus.store
    return str(Path(store.path("")).resolve()) if store.local else store.url("")


def parts_of(others: Sequence[ComparedCorpus]) -> list[str]:
    """Returns a hash of the current parts of each corpus's tables, for a config hash."""
    return [
        Corpus(other.uri, other.storage_options).parts_hash(
            {"records": RECORDS_HASH, **other.tables}
        )
        for other in others
    ]

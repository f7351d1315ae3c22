"""A corpus of one image shard as one of several, for what is asked some shards at a time."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import Table
from tests.support.reported import Made


def dealt(made: Made, folder: Path, shards: int) -> Made:
    """The same records, of which number n lies in shard n modulo the number of shards.

    Args:
        made: A local corpus of one shard.
        folder: Where the other one is made.
        shards: How many shards it gets.
    """
    corpus = Corpus(str(folder), create=True)
    other = Made(corpus, dict(made.tables), made.ids)
    for name, hashed in made.tables.items():
        source = made.corpus.at(name, hashed)
        for table in (source, source.failed):
            if (rows := Table.read(table, 0)) is not None:
                _deal(rows, Table(corpus.store, name, hashed, folder=table.folder), shards)
    for store_folder in ("runs", "sets"):
        if made.corpus.store.list(store_folder):
            there = corpus.store.path(store_folder)
            shutil.copytree(made.corpus.store.path(store_folder), there)
    for shard in range(shards):
        corpus.store.create(f"images/{shard:06d}.tar", made.corpus.store.read("images/000000.tar"))
    return other


def _deal(rows: pa.Table, target: Table, shards: int) -> None:
    for at, row in (("shard", "row"), ("other_shard", "other_row")):
        if at in rows.column_names:
            number = pa.array([n % shards for n in rows.column(row).to_pylist()], pa.int32())
            rows = rows.set_column(rows.column_names.index(at), rows.schema.field(at), number)
    for shard in range(shards):
        mine = rows.filter(pc.equal(rows.column("shard"), shard))
        if mine.num_rows:
            target.append(shard, mine, {})

"""Corpora with stored vectors of pictures that nobody painted, whose truth is known."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa

from nucleus_data.corpus.tables import table_schema
from nucleus_data.hashing import record_id
from nucleus_data.stages.embed.stage import IMAGE, SCHEMAS, TEXT
from nucleus_data.world.corpora import RECORDS, small_corpus, write_part
from tests.support import curated
from tests.support.embedded import model_folder

WIDTH = 16


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def subjects(count, seed=0, noise=1.6):
    """(N, D) vectors of pictures and of their captions, which tell the same with some noise."""
    rng = np.random.default_rng(seed)
    meant = unit(rng.standard_normal((count, WIDTH)))
    spread = noise / np.sqrt(WIDTH)
    seen, said = (meant + spread * rng.standard_normal((count, WIDTH)) for _ in range(2))
    return unit(seen), unit(said)


def vector_corpus(folder, images, texts, shards=2):
    """A corpus with these vectors, a text's row None where there is no caption; and no image.

    Returns the corpus, its overrides, and the ids in the order of the vectors.
    """
    folder.mkdir(exist_ok=True)
    model_folder(folder / "clip")
    overrides = (f"embed.model={folder / 'clip'}", "embed.heads=null")
    corpus = small_corpus(folder / "c", shards=0)
    tables = curated.run(corpus.uri, "status", *overrides, dry_run=True).tables
    ids = []
    for shard, places in enumerate(np.array_split(np.arange(len(images)), shards)):
        records = [_record(shard, row, place) for row, place in enumerate(places)]
        write_part(corpus.records, shard, pa.Table.from_pylist(records, RECORDS))
        rows = corpus.records.read(shard, ["shard", "row", "id"])
        ids += rows.column("id").to_pylist()
        for table, vectors in ((IMAGE, images), (TEXT, texts)):
            made = [None if vectors[p] is None else np.float16(vectors[p]) for p in places]
            column = pa.array(made, SCHEMAS[table].field(0).type)
            whole = rows.append_column(SCHEMAS[table].names[0], column)
            whole = whole.append_column("error", pa.nulls(len(rows), pa.string()))
            target = corpus.at(table, tables[table])
            write_part(target, shard, whole.cast(table_schema(SCHEMAS[table])))
    return SimpleNamespace(corpus=corpus, overrides=overrides, ids=ids)


def _record(shard, row, place):
    key = f"{place}.png"
    empty = {"offset": 0, "size": 0, "sha256": "", "retryable": False}
    return {"shard": shard, "row": row, "id": record_id("test", key), "key": key, **empty}

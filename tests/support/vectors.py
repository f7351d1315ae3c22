"""Corpora with stored vectors of pictures that nobody painted, whose truth is known."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa

from nucleus_data.corpus.tables import PAIRS_SCHEMA, table_schema
from nucleus_data.hashing import record_id
from nucleus_data.world.corpora import RECORDS, small_corpus, write_part
from tests.support import curated

STORED, USED = 192, 16  # numbers in a vector of the packaged CLIP, and those that are not 0 here


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def subjects(count, seed=0, noise=1.6):
    """(N, D) vectors of pictures and of their captions, which tell the same with some noise."""
    rng = np.random.default_rng(seed)
    meant = unit(rng.standard_normal((count, USED)))
    spread = noise / np.sqrt(USED)
    seen, said = (meant + spread * rng.standard_normal((count, USED)) for _ in range(2))
    return [np.pad(unit(rows), ((0, 0), (0, STORED - USED))) for rows in (seen, said)]


def vector_corpus(folder, images, texts, shards=2):
    """A corpus with vectors of the packaged CLIP, None where there is none; and no picture.

    Returns the corpus, and the ids in the order of the vectors.
    """
    folder.mkdir(exist_ok=True)
    corpus = small_corpus(folder / "c", shards=0)
    run = curated.run(corpus.uri, "status", dry_run=True)
    specs = {spec.name: spec for spec in run.stages["embed"].tables()}
    ids = []
    for shard, places in enumerate(np.array_split(np.arange(len(images)), shards)):
        records = [_record(shard, row, place) for row, place in enumerate(places)]
        write_part(corpus.records, shard, pa.Table.from_pylist(records, RECORDS))
        rows = corpus.records.read(shard, ["shard", "row", "id"])
        ids += rows.column("id").to_pylist()
        for kind, vectors in (("image", images), ("text", texts)):
            table = f"embed.{kind}"
            made = [None if vectors[p] is None else np.float16(vectors[p]) for p in places]
            schema = table_schema(specs[table].schema)
            column = {f"{kind}_embedding": pa.array(made, schema.field(f"{kind}_embedding").type)}
            columns = {name: rows.column(name) for name in rows.column_names} | column
            whole = [columns.get(f.name, pa.nulls(len(rows), f.type)) for f in schema]
            target = corpus.at(table, run.tables[table])
            write_part(target, shard, pa.table(whole, schema))
    return SimpleNamespace(corpus=corpus, ids=ids)


def write_pairs(corpus, *links):
    """A table of pairs of copies, as `dedup` would write it."""
    rows = [
        {"shard": 0, "row": row, "id": one, "other_id": other, "distance": 1, "exact": False}
        for row, (one, other) in enumerate(links)
    ]
    target = corpus.at("dedup", f"{len(corpus.config_hashes('dedup')):016x}")
    write_part(target, 0, pa.Table.from_pylist(rows, PAIRS_SCHEMA))
    return target


def _record(shard, row, place):
    key = f"{place}.png"
    empty = {"offset": 0, "size": 0, "sha256": "", "retryable": False}
    return {"shard": shard, "row": row, "id": record_id("test", key), "key": key, **empty}

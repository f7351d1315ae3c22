"""Corpora for benchmarks, made in milliseconds a shard: not ingested, but with the same result."""

import hashlib
import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from nucleus_data.corpus import RECORDS_HASH, Corpus
from nucleus_data.corpus.images import tar_name
from nucleus_data.corpus.tables import encode_part, table_schema
from nucleus_data.hashing import encode_rows, record_id
from nucleus_data.world import render, scene

RECORDS = table_schema(
    pa.schema(
        [
            *((name, pa.string()) for name in ("source", "key", "file", "sha256")),
            *((name, pa.int64()) for name in ("offset", "size")),
        ]
    )
)


def make_corpus(folder: Path, shards: int, images: Sequence[bytes]) -> Corpus:
    """A local corpus whose shards all hold the same images, under names of their own.

    Args:
        folder: Where; it must not exist.
        shards: How many.
        images: Encoded pictures (JPEG).
    """
    corpus = Corpus(str(folder), create=True)
    for shard in range(shards):
        write_shard(corpus, shard, images)
    return corpus


def write_shard(corpus: Corpus, shard: int, images: Sequence[bytes]) -> None:
    """Writes one shard's tar and records, without waiting for the disk as ingest does."""
    stream = io.BytesIO()
    rows = []
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for row, data in enumerate(images):
            ident = record_id("bench", f"{shard}/{row}")
            info = tarfile.TarInfo(f"{ident}.jpg")
            info.size = len(data)
            rows.append(
                {
                    "shard": shard,
                    "row": row,
                    "id": ident,
                    "source": "bench",
                    "key": f"{shard}/{row}",
                    "file": info.name,
                    "offset": stream.tell() + tarfile.BLOCKSIZE,
                    "size": len(data),
                    "sha256": hashlib.sha256(data).hexdigest(),
                }
            )
            tar.addfile(info, io.BytesIO(data))
    content = stream.getvalue()
    footer = {
        "table": "records",
        "config_hash": RECORDS_HASH,
        "shard": str(shard),
        "rows": encode_rows(np.arange(len(rows))),
        "tar_size": str(len(content)),
        "tar_sha256": hashlib.sha256(content).hexdigest(),
    }
    part = encode_part(pa.Table.from_pylist(rows, RECORDS), footer)
    records = f"{corpus.records.folder}/{shard:06d}-0.parquet"
    for name, data in ((tar_name(shard), content), (records, part)):
        target = Path(corpus.store.path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def pictures(count: int, side: int) -> list[bytes]:
    """Different synthetic scenes as JPEG, `side` pixels high and wide."""
    found = []
    for index in range(count):
        stream = io.BytesIO()
        render(scene(0, index), side, side).save(stream, "JPEG", quality=90)
        found.append(stream.getvalue())
    return found

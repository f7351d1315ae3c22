"""Corpora for tests and benches, written in milliseconds a shard.

Nothing is ingested, but tars and records are those that ingest would leave. Nobody waits for the
disk either, so they are for folders that may be lost.
"""

import hashlib
import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.parts import KEY_FIELDS, encode_part
from nucleus_data.corpus.store import Store
from nucleus_data.corpus.tables import Table
from nucleus_data.corpus.tar_names import tar_name
from nucleus_data.hashing import encode_rows, record_id
from nucleus_data.world.painting import render
from nucleus_data.world.scenes import scene

RECORDS = pa.schema(
    [
        *KEY_FIELDS,
        *((name, pa.string()) for name in ("source", "key", "file")),
        *((name, pa.int64()) for name in ("offset", "size")),
        *((name, pa.string()) for name in ("sha256", "error", "detail")),
        ("retryable", pa.bool_()),
        ("source.caption", pa.string()),
    ]
)


def write_shard(
    corpus: Corpus,
    shard: int,
    images: Mapping[str, bytes],
    captions: Mapping[str, str] | None = None,
    *,
    source: str = "test",
) -> None:
    """Writes one image shard's tar and its records.

    Args:
        corpus: A local corpus that lacks the shard.
        shard: Number of the shard.
        images: Upstream key -> the file's bytes, in the order of the rows. What follows the key's
            last dot is the suffix in the tar; `jpg` for a key without a dot.
        captions: Upstream key -> caption that came with the image.
        source: Name of the source; ids are hashes of it and the key.

    Raises:
        FileExistsError: The corpus has the shard.
    """
    stream = io.BytesIO()
    rows: list[dict[str, Any]] = []
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for row, (key, data) in enumerate(images.items()):
            ident = record_id(source, key)
            suffix = key.rpartition(".")[2] if "." in key else "jpg"
            info = tarfile.TarInfo(f"{ident}.{suffix}")
            info.size = len(data)
            rows.append(
                {
                    "shard": shard,
                    "row": row,
                    "id": ident,
                    "source": source,
                    "key": key,
                    "file": info.name,
                    # The data begin behind a header of one block: names are short enough for that.
                    "offset": stream.tell() + tarfile.BLOCKSIZE,
                    "size": len(data),
                    "sha256": hashlib.sha256(data).hexdigest(),
                    "retryable": False,
                    "source.caption": (captions or {}).get(key),
                }
            )
            tar.addfile(info, io.BytesIO(data))
    content = stream.getvalue()
    footer = {"tar_size": str(len(content)), "tar_sha256": hashlib.sha256(content).hexdigest()}
    _write(corpus.store, tar_name(shard), content)
    write_part(corpus.records, shard, pa.Table.from_pylist(rows, RECORDS), footer)


def write_part(
    table: Table, shard: int, rows: pa.Table, footer: Mapping[str, str] | None = None
) -> None:
    """Writes the first part of a shard as `Table.append` would, without waiting for the disk.

    Args:
        table: A local corpus's table that lacks the shard.
        shard: The shard that all rows are of.
        rows: Rows, sorted by row, with the key columns.
        footer: The table's own metadata, for example the tar's size.

    Raises:
        FileExistsError: The table has the part.
    """
    content = {
        **(footer or {}),
        "table": table.name,
        "config_hash": table.config_hash,
        "shard": str(shard),
        "rows": encode_rows(rows.column("row").to_numpy()),
    }
    _write(table.store, f"{table.folder}/{shard:06d}-0.parquet", encode_part(rows, content))


def _write(store: Store, name: str, data: bytes) -> None:
    # `Store.create` syncs each file, which takes longer than all else that is done for a shard.
    target = Path(store.path(name))
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        file.write(data)


def hex_texts(rng: np.random.Generator, count: int, digits: int) -> pa.Array:
    """Random texts of hex digits, as ids (32 digits) and SHA-256 (64) are, for many rows at once.

    Args:
        rng: Random numbers.
        count: How many texts.
        digits: How long each is; even.
    """
    text = rng.bytes(count * digits // 2).hex().encode()
    # All texts are one buffer, cut at every so many digits: no Python object for each.
    offsets = pa.py_buffer(np.arange(0, (count + 1) * digits, digits, dtype=np.int32))
    return pa.StringArray.from_buffers(count, offsets, pa.py_buffer(text))


def small_corpus(folder: Path, shards: int = 3, images: int = 5) -> Corpus:
    """A corpus whose images are 80 distinct bytes each, for stages that don't decode.

    Args:
        folder: Where it is, or will be.
        shards: How many shards it gets.
        images: How many images each has.
    """
    corpus = Corpus(str(folder), create=True)
    for shard in range(shards):
        content = {f"{shard}/{i}.bin": bytes([shard, i]) * 40 for i in range(images)}
        write_shard(corpus, shard, content)
    return corpus


def repeated_corpus(folder: Path, shards: int, images: Sequence[bytes]) -> Corpus:
    """A corpus whose shards all hold the same images, under keys `<shard>/<row>`, for benches.

    Args:
        folder: Where it will be.
        shards: How many shards it gets.
        images: Encoded pictures (JPEG).
    """
    corpus = Corpus(str(folder), create=True)
    for shard in range(shards):
        content = {f"{shard}/{row}": data for row, data in enumerate(images)}
        write_shard(corpus, shard, content, source="bench")
    return corpus


def scene_jpegs(count: int, side: int) -> list[bytes]:
    """The first scenes of world 0 as JPEGs, `side` pixels high and wide."""
    found = []
    for index in range(count):
        stream = io.BytesIO()
        render(scene(0, index), side, side).save(stream, "JPEG", quality=90)
        found.append(stream.getvalue())
    return found

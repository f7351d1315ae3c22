"""Writing training shards: one task an output tar, ranged reads, the same bytes every time.

The manifest comes last.
"""

import io
import json
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.images import read_images
from nucleus_data.errors import CorpusError
from nucleus_data.runner.rows import Summary
from nucleus_data.sets.buckets import centre_crop

MANIFEST_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string()),
        pa.field("resolution", pa.int32()),
        pa.field("aspect", pa.string()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("samples", pa.int64()),
        pa.field("bytes", pa.int64()),
        pa.field("sha256", pa.string()),
    ]
)
BATCH = 64


@dataclass(frozen=True)
class TarTask:
    """Writes one training shard from its plan (a task of the runner).

    Attributes:
        uri: The corpus.
        storage_options: For fsspec.
        folder: The training set, `sets/<name>/<config hash>`.
    """

    uri: str
    storage_options: Mapping[str, Any]
    folder: str

    def run(self, number: int) -> Summary:
        """Makes the tar, unless it is there, and notes its size and SHA-256 in `_done/`."""
        store = Corpus(self.uri, self.storage_options).store
        plan = pq.ParquetFile(pa.BufferReader(store.read(f"{self.folder}/{plan_name(number)}")))
        bucket = {
            k.decode().removeprefix("nucleus."): v.decode()
            for k, v in plan.schema_arrow.metadata.items()
            if k.startswith(b"nucleus.")
        }
        rows = plan.read().replace_schema_metadata(None)
        summary = Summary(rows=rows.num_rows)
        note = f"{self.folder}/{done_name(number)}"
        if store.exists(note):
            summary.already = rows.num_rows
            return summary
        with tempfile.TemporaryDirectory(prefix="nucleus-") as folder:
            file = Path(folder) / "shard.tar"
            target = (int(bucket["width"]), int(bucket["height"]))
            with file.open("wb") as stream, tarfile.open(fileobj=stream, mode="w|") as tar:
                for record, image in self._images(rows):
                    summary.bytes += len(image)
                    for name, content in members(record, image, target):
                        _add(tar, name, content)
            digest, size = _digest(file), file.stat().st_size
            name = f"{self.folder}/{bucket['path']}"
            if not store.create_file(name, file) and store.size(name) != size:
                raise CorpusError(
                    f"{name} is there with other content; remove the set and make it again"
                )
        entry = {
            "path": bucket["path"],
            "resolution": int(bucket["resolution"]),
            "aspect": bucket["aspect"],
            "width": target[0],
            "height": target[1],
            "samples": rows.num_rows,
            "bytes": size,
            "sha256": digest,
        }
        store.create(note, json.dumps(entry, sort_keys=True).encode())
        summary.done = rows.num_rows
        return summary

    def _images(self, rows: pa.Table) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Records of the plan with their bytes, in plan order, a batch at a time."""
        corpus = Corpus(self.uri, self.storage_options)
        sizes: dict[int, int] = {}
        for start in range(0, rows.num_rows, BATCH):
            batch = rows.slice(start, BATCH)
            images: dict[str, bytes] = {}
            for shard in sorted(set(batch.column("shard").to_pylist())):
                if shard not in sizes:
                    footer = next(iter(corpus.records.metadata(shard)))
                    sizes[shard] = int(footer["tar_size"])
                mine = batch.filter(pa.compute.equal(batch.column("shard"), shard)).sort_by(
                    "offset"
                )
                found = read_images(corpus.store, shard, mine, sizes[shard])
                images.update(zip(mine.column("id").to_pylist(), found, strict=True))
            for record in batch.to_pylist():
                yield record, images.pop(record["id"])


def members(
    record: Mapping[str, Any], image: bytes, target: tuple[int, int]
) -> Iterator[tuple[str, bytes]]:
    """A sample's files: the original picture, its metadata and its best caption."""
    extension = record["file"].rsplit(".", 1)[-1]
    content = {
        "id": record["id"],
        "captions": record["captions"],
        "caption_sources": record["caption_sources"],
        "width": record["width"],
        "height": record["height"],
        "target_width": target[0],
        "target_height": target[1],
        "crop": centre_crop(record["width"], record["height"], target),
    }
    yield f"{record['id']}.{extension}", image
    yield f"{record['id']}.json", json.dumps(content, sort_keys=True, ensure_ascii=False).encode()
    yield f"{record['id']}.txt", record["captions"][-1].encode()


def write_manifest(corpus: Corpus, folder: str, tars: int) -> pa.Table:
    """Publishes a set: one row a tar, from the notes that the tasks left.

    Raises:
        CorpusError: A tar is missing; the set is not published.
    """
    entries = []
    for number in range(tars):
        try:
            entries.append(json.loads(corpus.store.read(f"{folder}/{done_name(number)}")))
        except FileNotFoundError:
            raise CorpusError(
                f"{folder} is not published: tar {number} of {tars} was not written. "
                "Run the same command again"
            ) from None
    table = pa.Table.from_pylist(entries, MANIFEST_SCHEMA)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    corpus.store.create(f"{folder}/manifest.parquet", sink.getvalue().to_pybytes())
    return table


def plan_name(number: int) -> str:
    """Path of a tar's plan below the set."""
    return f"_plan/{number:06d}.parquet"


def done_name(number: int) -> str:
    """Path of a tar's note below the set."""
    return f"_done/{number:06d}.json"


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mode = 0o644
    tar.addfile(info, io.BytesIO(content))


def _digest(file: Path) -> str:
    import hashlib

    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

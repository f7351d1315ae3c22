"""Writing training shards: one task an output tar, ranged reads, the same bytes every time.

The manifest comes last: it publishes the set.
"""

import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.images import read_images
from nucleus_data.errors import CorpusError
from nucleus_data.runner.work import Summary
from nucleus_data.sets.buckets import centre_crop
from nucleus_data.sets.layout import SetFolder

BATCH = 64
PLACED = ("tier", "curriculum")  # of a selection with curriculum buckets
BUCKET = ("path", "resolution", "aspect", "width", "height")


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
        folder = SetFolder(Corpus(self.uri, self.storage_options).store, self.folder)
        plan = folder.plan(number)
        summary = Summary(rows=plan.rows.num_rows)
        if folder.note(number) is not None:
            summary.already = plan.rows.num_rows
            return summary
        with tempfile.TemporaryDirectory(prefix="nucleus-") as temporary:
            file = Path(temporary) / "shard.tar"
            with file.open("wb") as stream, tarfile.open(fileobj=stream, mode="w|") as tar:
                for record, image in self._images(plan.rows):
                    summary.bytes += len(image)
                    for name, content in members(record, image, (plan.width, plan.height)):
                        _add(tar, name, content)
            digest, size = _digest(file), file.stat().st_size
            name = folder.name(plan.path)
            # A task that was killed before its note finds its own tar, which has the same bytes.
            if not folder.store.create_file(name, file) and folder.store.size(name) != size:
                raise CorpusError(
                    f"{name} is there with other content; remove the set and make it again"
                )
        row = {
            name: getattr(plan, name)
            for name in ("path", "resolution", "aspect", "width", "height")
        }
        folder.write_note(
            number, {**row, "samples": plan.rows.num_rows, "bytes": size, "sha256": digest}
        )
        summary.done = plan.rows.num_rows
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
                # The keyed order scatters a batch over all image shards; each of them is read once.
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
        **{name: record[name] for name in PLACED if name in record},
    }
    yield f"{record['id']}.{extension}", image
    yield f"{record['id']}.json", json.dumps(content, sort_keys=True, ensure_ascii=False).encode()
    yield f"{record['id']}.txt", record["captions"][-1].encode()


def publish_set(folder: SetFolder, tars: int) -> pa.Table:
    """Publishes a set: one row a tar, from the notes that the tasks left.

    Raises:
        CorpusError: A tar is missing; the set is not published.
    """
    rows = []
    for number in range(tars):
        row = folder.note(number)
        if row is None:
            raise CorpusError(
                f"{folder.path} is not published: tar {number} of {tars} was not written. "
                "Run the same command again"
            )
        rows.append(row)
    return folder.publish(rows)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mode = 0o644
    tar.addfile(info, io.BytesIO(content))


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

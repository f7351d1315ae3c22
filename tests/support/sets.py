"""Tiny published training sets of today's layout, made without a corpus.

folder = make_set(tmp_path, {"64/1x1": 5, "64/4x3": 3})   # a SetFolder, with edition and columns
"""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from nucleus_data.corpus.store import Store
from nucleus_data.sets.beside import encode
from nucleus_data.sets.buckets import bucket_size
from nucleus_data.sets.editions import EDITION_SCHEMA
from nucleus_data.sets.index import INDEX_SCHEMA, index_name
from nucleus_data.sets.layout import LEFT_OUT_SCHEMA, SetFolder
from nucleus_data.sets.provenance import encode as provenance
from nucleus_data.sets.tars import TarWriter

EDITION, COLUMNS = "e" * 16, "c" * 16


def ident(number):
    """The id of a made-up record: 32 hex digits, in no order."""
    return hashlib.md5(f"record {number}".encode()).hexdigest()


def jpeg(number, size):
    """A small JPEG of few colours, another one for each number."""
    colours = np.random.default_rng(number).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(colours).resize(size, Image.Resampling.BILINEAR).save(stream, "JPEG")
    return stream.getvalue()


def make_set(folder, buckets=None, *, a_tar=4, captions=True, multiple=8):
    """Publishes a set.

    Args:
        folder: A path that is made; it is the set's folder.
        buckets: `RESOLUTION/ASPECT` -> samples. Records are numbered alike in each resolution.
        a_tar: Most samples in a tar.
        captions: Write an edition and index columns too. Every fifth record has no caption.
        multiple: Sides of buckets are multiples of it.

    Returns:
        The set, a `SetFolder` whose store's root is the folder.
    """
    made, rows = SetFolder(Store(str(folder))), []
    numbers = {}
    for bucket, count in (buckets or {"64/1x1": 6, "64/4x3": 5}).items():
        resolution, aspect = bucket.split("/")
        size = bucket_size(int(resolution), aspect, multiple)
        first = numbers.get(resolution, 0)
        numbers[resolution] = first + count
        for j, start in enumerate(range(0, count, a_tar)):
            mine = range(first + start, first + min(start + a_tar, count))
            samples = [Made(n, jpeg(n, size), size) for n in mine]
            path = f"{bucket}/{j:06d}.tar"
            rows.append(add_tar(made, path, int(resolution), aspect, size, samples))
    if captions:
        add_edition(made, rows)
        add_columns(made, rows)
    made.write_left_out(LEFT_OUT_SCHEMA.empty_table())
    made.publish(rows)
    return made


class Made:
    """A record of a made-up set: its number, stored picture, and that picture's size."""

    def __init__(self, number, data, size, *, key=None, crop=None, suffix="jpg") -> None:
        self.number, self.data, self.size, self.suffix = number, data, size, suffix
        self.id = key or ident(number)
        self.crop = crop or [0, 0, *size]


def add_tar(made, path, resolution, aspect, size, samples):
    """Writes a tar and its index; returns its row of the manifest."""
    file = Path(made.url(path))
    file.parent.mkdir(parents=True, exist_ok=True)
    index = []
    with TarWriter(file) as tar:
        for sample in samples:
            about = provenance(
                {
                    "id": sample.id,
                    "key": f"{sample.number}.jpg",
                    "source": "made",
                    "sha256": hashlib.sha256(b"original" + sample.data).hexdigest(),
                    "original_width": 2 * sample.size[0],
                    "original_height": 2 * sample.size[1],
                    "crop": sample.crop,
                    "width": sample.size[0],
                    "height": sample.size[1],
                }
            )
            index.append(
                {
                    "id": sample.id,
                    "offset": tar.add(f"{sample.id}.{sample.suffix}", sample.data),
                    "size": len(sample.data),
                    "json_offset": tar.add(f"{sample.id}.json", about),
                    "json_size": len(about),
                    "width": sample.size[0],
                    "height": sample.size[1],
                    "crop": sample.crop,
                    "shard": sample.number // 10,
                    "row": sample.number % 10,
                    "sha256": hashlib.sha256(sample.data).hexdigest(),
                }
            )
    content = encode(pa.Table.from_pylist(index, INDEX_SCHEMA))
    Path(made.url(index_name(path))).write_bytes(content)
    return {
        "path": path,
        "resolution": resolution,
        "aspect": aspect,
        "width": size[0],
        "height": size[1],
        "samples": len(index),
        "bytes": tar.size,
        "sha256": tar.sha256,
        "index_sha256": hashlib.sha256(content).hexdigest(),
    }


def texts(shard, row):
    """A record's captions and where they are from; none for every fifth record."""
    number = 10 * shard + row
    if number % 5 == 4:
        return [], []
    return [f"web {number}", f"short {number}"], ["web", "synthesized:short"]


def add_edition(made, rows, *, config_hash=EDITION, name="source, short", say=texts):
    """Publishes an edition of captions."""
    edition = made.new_edition(config_hash)
    counts = {"samples": 0, "captions": 0, "without": 0, "mix": {}}
    for row in rows:
        index = made.index(row["path"])
        said = [say(r["shard"], r["row"]) for r in index.select(["shard", "row"]).to_pylist()]
        columns = [index["id"], [c for c, _ in said], [s for _, s in said]]
        edition.write(row["path"], pa.table(columns, schema=EDITION_SCHEMA))
        counts["samples"] += len(said)
        counts["captions"] += sum(len(c) for c, _ in said)
        counts["without"] += sum(not c for c, _ in said)
        for source in (source for _, sources in said for source in sources):
            counts["mix"][source] = counts["mix"].get(source, 0) + 1
    edition.publish({"name": name, "tables": ["source", f"short@{config_hash}"], **counts})
    return edition


def add_columns(made, rows, *, config_hash=COLUMNS):
    """Publishes index columns: a tier, a curriculum bucket and one score."""
    columns = made.new_columns(config_hash)
    for row in rows:
        index = made.index(row["path"])
        n = index.num_rows
        values = {
            "id": index["id"],
            "tier": [f"A{1 + i % 3}" for i in range(n)],
            "curriculum": [f"B{1 + i % 2}" for i in range(n)],
            "pleasant": pa.array([i / 10 for i in range(n)], pa.float32()),
        }
        columns.write(row["path"], pa.table(values))
    names = ["tier", "curriculum", "pleasant"]
    columns.publish({"tables": {"selection": "0" * 16, "embed.heads": "1" * 16}, "names": names})
    return columns


def members(made, path):
    """id -> member suffix -> bytes, in the tar's order, by Python's own tarfile."""
    import tarfile

    found = {}
    with tarfile.open(made.url(path)) as tar:
        for member in tar:
            key, suffix = member.name.split(".")
            found.setdefault(key, {})[suffix] = tar.extractfile(member).read()
    return found


def about(made, path):
    """id -> what a sample's `.json` says."""
    return {key: json.loads(files["json"]) for key, files in members(made, path).items()}

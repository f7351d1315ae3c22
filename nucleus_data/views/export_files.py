"""The files of an exported set, one for each of its tars; the same set gives the same bytes.

| `--as` | file | holds |
|---|---|---|
| webdataset | `RES/ASPECT/000000.tar` | `<id>.jpg`, `<id>.json` with all facts, `<id>.txt` |
| parquet | `RES/ASPECT/000000.parquet` | a row a sample; `datasets` shows `image` as a picture |
| webshart | `RES/ASPECT/000000.json` | where files lie in the set's own tar, with the captions |
| energon | `RES/captions/ASPECT/000000.tar` | `<id>.txt` alone, joined to the set's own tars |
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.corpus.local_files import write_synced
from nucleus_data.sets.columns import Columns
from nucleus_data.sets.editions import Edition
from nucleus_data.sets.features import IMAGE, with_features
from nucleus_data.sets.joined import (
    IMAGE_COLUMN,
    TEXT_COLUMN,
    Joined,
    joined_schema,
    read_beside,
    read_index,
    read_joined,
    suffix_of,
)
from nucleus_data.sets.layout import SetFolder, TarEntry
from nucleus_data.sets.tars import TarWriter

KINDS = ("webdataset", "parquet", "webshart", "energon")
GROUP_ROWS, GROUP_BYTES = 1000, 64 << 20  # of Parquet: what a reader holds at once


@dataclass(frozen=True)
class Joining:
    """What is exported.

    Attributes:
        name: Of the set.
        folder: The set.
        edition: Whose captions are joined.
        columns: Index columns that are joined too; None for none.
        captioned: Leave samples out that have no caption.
    """

    name: str
    folder: SetFolder
    edition: Edition
    columns: Columns | None = None
    captioned: bool = False

    @property
    def hash(self) -> str:
        """The set's config hash: the name of its folder."""
        return self.folder.url().rstrip("/").rpartition("/")[2]

    @cached_property
    def facts(self) -> pa.Schema:
        """The fields of a sample's facts."""
        return joined_schema(self.folder, self.columns)

    @cached_property
    def suffix(self) -> str:
        """Ending of the pictures, one for the whole set; what `shard` writes where there are none.

        A tar that is missing costs its own file alone.
        """
        for entry in self.folder.manifest():
            with suppress(FileNotFoundError):
                return suffix_of(self.folder, entry)
        return "jpg"

    def samples(self, entry: TarEntry, counted: Counter[str]) -> Iterator[Joined]:
        """The samples of a tar; counts `samples`, `without` a caption, and those `left_out`."""
        for sample in read_joined(self.folder, entry, self.edition, self.columns):
            counted["without"] += not sample.caption
            if self.captioned and not sample.caption:
                counted["left_out"] += 1
                continue
            counted["samples"] += 1
            counted[f"source {sample.facts['source'] or ''}"] += 1
            counted[f"licence {sample.facts['licence'] or ''}"] += 1
            yield sample

    def texts(self, entry: TarEntry, counted: Counter[str]) -> list[tuple[dict[str, Any], list]]:
        """Rows of a tar's index with their captions.

        Counts as `samples` does, except by source and licence, which no index has.
        """
        index = read_index(self.folder, entry)
        rows = read_beside(
            self.folder, entry, self.edition, self.edition.captions(entry.path), index
        )
        found = []
        for place, texts in zip(index.to_pylist(), rows["captions"].to_pylist(), strict=True):
            counted["without"] += not texts
            if self.captioned and not texts:
                counted["left_out"] += 1
            else:
                counted["samples"] += 1
                found.append((place, texts or []))
        return found


def name_of(kind: str, entry: TarEntry) -> str:
    """Path of the file that a tar becomes."""
    stem = entry.path.removesuffix(".tar")
    if kind == "energon":
        resolution, aspect, number = stem.rsplit("/", 2)
        return f"{resolution}/captions/{aspect}/{number}.tar"
    return stem + {"webdataset": ".tar", "parquet": ".parquet", "webshart": ".json"}[kind]


def write(kind: str, joining: Joining, entry: TarEntry, file: Path) -> dict[str, Any]:
    """Writes the file of a tar, and says what is in it.

    Returns:
        `samples`, `without`, `left_out`, `bytes`, `sha256`; `sources` and `licences`, samples by
        each, which are empty for formats without facts.

    Raises:
        CorpusError: A sample, or what lies beside the tar, is damaged.
    """
    counted: Counter[str] = Counter(samples=0, without=0, left_out=0)
    writer = {
        "webdataset": _write_tar,
        "parquet": _write_parquet,
        "webshart": _write_webshart,
        "energon": _write_captions,
    }[kind]
    digest, size = writer(joining, entry, file, counted)
    note: dict[str, Any] = {"bytes": size, "sha256": digest, "sources": {}, "licences": {}}
    for name, count in sorted(counted.items()):
        kind_of, _, value = name.partition(" ")
        if kind_of in ("source", "licence"):
            note[f"{kind_of}s"][value] = count
        else:
            note[name] = count
    return note


def parquet_schema(joining: Joining) -> pa.Schema:
    """Columns of an export as Parquet: id, image, text, then all other facts."""
    facts = joining.facts
    first = [facts.field("id"), pa.field(IMAGE_COLUMN, IMAGE), pa.field(TEXT_COLUMN, pa.string())]
    rest = [field for field in facts if field.name != "id"]
    return with_features(pa.schema(first + rest))


def sample_schema(joining: Joining) -> pa.Schema:
    """What `datasets` finds in a sample of an export as tars."""
    return pa.schema(
        [
            (joining.suffix, IMAGE),
            ("json", pa.struct(list(joining.facts))),
            ("txt", pa.string()),
            ("__key__", pa.string()),
            ("__url__", pa.string()),
        ]
    )


def _write_tar(
    joining: Joining, entry: TarEntry, file: Path, counted: Counter[str]
) -> tuple[str, int]:
    with TarWriter(file) as tar:
        for sample in joining.samples(entry, counted):
            about = json.dumps(sample.facts, sort_keys=True, ensure_ascii=False).encode()
            tar.add(f"{sample.id}.{joining.suffix}", sample.picture)
            tar.add(f"{sample.id}.json", about)
            tar.add(f"{sample.id}.txt", sample.caption.encode())
    return tar.sha256, tar.size


def _write_captions(
    joining: Joining, entry: TarEntry, file: Path, counted: Counter[str]
) -> tuple[str, int]:
    with TarWriter(file) as tar:
        for place, texts in joining.texts(entry, counted):
            tar.add(f"{place['id']}.txt", (texts[-1] if texts else "").encode())
    return tar.sha256, tar.size


def _write_webshart(
    joining: Joining, entry: TarEntry, file: Path, counted: Counter[str]
) -> tuple[str, int]:
    files = {}
    for place, texts in joining.texts(entry, counted):
        files[f"{place['id']}.{joining.suffix}"] = {
            "offset": place["offset"],
            "length": place["size"],
            "sha256": place["sha256"],
            "width": place["width"],
            "height": place["height"],
            "aspect": place["width"] / place["height"],
            "json_path": f"{place['id']}.json",
            "json_offset": place["json_offset"],
            "json_length": place["json_size"],
            "captions": texts,
        }
    index = {
        "path": entry.path.rpartition("/")[2],
        "filesize": entry.bytes,
        "hash": entry.sha256,
        "files": files,
    }
    content = json.dumps(index, ensure_ascii=False).encode()  # files in the tar's order
    write_synced(file, content)
    return hashlib.sha256(content).hexdigest(), len(content)


def _write_parquet(
    joining: Joining, entry: TarEntry, file: Path, counted: Counter[str]
) -> tuple[str, int]:
    schema = parquet_schema(joining)
    # A picture is compressed already, and no two are alike: neither helps, and both cost.
    leaves = list(_leaves(schema))
    texts = [leaf for leaf in leaves if not leaf.startswith(f"{IMAGE_COLUMN}.")]
    packed = {leaf: "zstd" if leaf in texts else "none" for leaf in leaves}
    with (
        file.open("wb") as stream,
        pq.ParquetWriter(
            stream,
            schema,
            compression=packed,
            use_dictionary=["source", "licence"],
            write_statistics=texts,
        ) as writer,
    ):
        for rows in _groups(joining.samples(entry, counted), joining.suffix):
            writer.write_table(pa.Table.from_pylist(rows, schema), row_group_size=GROUP_ROWS)
        writer.close()
        stream.flush()
        os.fsync(stream.fileno())
    with file.open("rb") as written:
        return hashlib.file_digest(written, "sha256").hexdigest(), file.stat().st_size


def _groups(samples: Iterable[Joined], suffix: str) -> Iterator[list[dict[str, Any]]]:
    """Rows of samples, as many as a row group holds."""
    rows: list[dict[str, Any]] = []
    size = 0
    for sample in samples:
        if rows and (len(rows) == GROUP_ROWS or size + len(sample.picture) > GROUP_BYTES):
            yield rows
            rows, size = [], 0
        image = {"bytes": sample.picture, "path": f"{sample.id}.{suffix}"}
        rows.append({**sample.facts, IMAGE_COLUMN: image, TEXT_COLUMN: sample.caption})
        size += len(sample.picture)
    if rows:
        yield rows


def _leaves(schema: pa.Schema) -> Iterator[str]:
    """Paths of the columns that lie in a Parquet file."""
    for field in schema:
        if pa.types.is_struct(field.type):
            yield from (f"{field.name}.{field.type.field(i).name}" for i in range(2))
        elif pa.types.is_list(field.type):
            yield f"{field.name}.list.element"
        else:
            yield field.name

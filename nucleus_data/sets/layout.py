"""What lies where in a training set's folder, `sets/<name>/<config hash>/` of a corpus.

<resolution>/<aspect>/000000.tar   samples: `<id>.<image>`, `<id>.json`, `<id>.txt`
_plan/000000.parquet               which records tar 0 holds, in its order; bucket in the footer
_done/000000.json                  tar 0 is written: its row of the manifest
left_out.parquet                   kept records that are in no tar, and why
manifest.parquet                   one row a tar; written last, it publishes the set
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.corpus.damaged import read_json, read_whole, reading
from nucleus_data.corpus.parts import encode_part, own_footer
from nucleus_data.corpus.store import Store
from nucleus_data.corpus.tables import parts_of

ROOT = "sets"
MANIFEST = "manifest.parquet"
LEFT_OUT = "left_out.parquet"
PLANS, NOTES = "_plan", "_done"

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
PLAN_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("shard", pa.int32()),
        pa.field("row", pa.int32()),
        pa.field("file", pa.string()),
        pa.field("offset", pa.int64()),
        pa.field("size", pa.int64()),
        pa.field("sha256", pa.string()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("captions", pa.list_(pa.string())),
        pa.field("caption_sources", pa.list_(pa.string())),
    ]
)
# Of a selection with curriculum buckets, a plan has these too.
PLACED_SCHEMA = pa.schema(
    [*PLAN_SCHEMA, pa.field("tier", pa.string()), pa.field("curriculum", pa.string())]
)
LEFT_OUT_SCHEMA = pa.schema([pa.field("id", pa.string()), pa.field("reason", pa.string())])


@dataclass(frozen=True)
class PlannedTar:
    """One output tar: its number, its path below the set, its bucket, and its records.

    Attributes:
        number: Among all tars of the set, from 0.
        path: `<resolution>/<aspect>/<number in the bucket>.tar`.
        resolution: Side of the square bucket, in pixels.
        aspect: The aspect bucket, for example `4x3`.
        width: Width of a training picture, in pixels.
        height: Height of a training picture, in pixels.
        rows: `PLAN_SCHEMA` or `PLACED_SCHEMA`, in the tar's order.
    """

    number: int
    path: str
    resolution: int
    aspect: str
    width: int
    height: int
    rows: pa.Table


@dataclass(frozen=True)
class SetFolder:
    """A training set's files.

    Attributes:
        store: The corpus's store.
        path: `sets/<name>/<config hash>`.
    """

    store: Store
    path: str

    @property
    def published(self) -> bool:
        """Whether the set is complete."""
        name = self.name(MANIFEST)
        return name not in self.store.left_out and self.store.exists(name)

    def name(self, file: str) -> str:
        """Path of one of its files below the corpus."""
        return f"{self.path}/{file}"

    def url(self, file: str = "") -> str:
        """What other tools open: the folder, or a file in it."""
        return self.store.url(self.name(file) if file else self.path)

    def write_plan(self, tar: PlannedTar) -> None:
        """Writes which records a tar holds."""
        self.store.create(self.name(plan_name(tar.number)), encode_plan(tar))

    def plan(self, number: int) -> PlannedTar:
        """Which records a tar holds. Raises FileNotFoundError."""
        name = self.name(plan_name(number))
        content = read_whole(self.store, name)
        with reading(self.store, name):
            return decode_plan(number, content)

    def plans(self) -> list[str]:
        """File names of all plans that are not left out as damaged, sorted."""
        names = [n for n in self.store.list(self.name(PLANS)) if n.endswith(".parquet")]
        return [n for n in names if self.name(f"{PLANS}/{n}") not in self.store.left_out]

    def plans_sql(self) -> str:
        """DuckDB SQL of the names of all plans."""
        return parts_of(self.store, self.name(PLANS))

    def planned_ids(self) -> dict[int, list[str]]:
        """Resolution -> ids of its samples, in the order of the tars; reads no tar."""
        found: dict[int, list[str]] = {}
        for file in self.plans():
            name = self.name(f"{PLANS}/{file}")
            content = read_whole(self.store, name)
            with reading(self.store, name):
                plan = pq.ParquetFile(pa.BufferReader(content))
                ids = plan.read(["id"]).column("id").to_pylist()
                resolution = int(own_footer(plan.schema_arrow)["resolution"])
            found.setdefault(resolution, []).extend(ids)
        return found

    def note(self, number: int) -> dict[str, Any] | None:
        """A written tar's row of the manifest; None if it is not written yet."""
        try:
            return read_json(self.store, self.name(note_name(number)))
        except FileNotFoundError:
            return None

    def write_note(self, number: int, row: Mapping[str, Any]) -> None:
        """Says that a tar is written."""
        self.store.create(self.name(note_name(number)), json.dumps(row, sort_keys=True).encode())

    def write_left_out(self, rows: pa.Table) -> None:
        """Writes which kept records are in no tar."""
        self._write_table(LEFT_OUT, rows)

    def publish(self, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
        """Writes the manifest, one row a tar, by which the set is complete; returns it."""
        table = pa.Table.from_pylist(list(rows), MANIFEST_SCHEMA)
        self._write_table(MANIFEST, table)
        return table

    def _write_table(self, file: str, rows: pa.Table) -> None:
        sink = pa.BufferOutputStream()
        pq.write_table(rows, sink, compression="zstd")
        self.store.create(self.name(file), sink.getvalue().to_pybytes())


def read_manifest(store: Store, folder: str = "") -> list[dict[str, Any]] | None:
    """A set's tars in the manifest's order, one dictionary each; None if it is not published."""
    name = f"{folder}/{MANIFEST}" if folder else MANIFEST
    try:
        content = read_whole(store, name)
    except FileNotFoundError:
        return None
    with reading(store, name):
        rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(content)).to_pylist()
        return rows


def published_sets(store: Store) -> Iterator[SetFolder]:
    """The complete sets of a corpus, by name and config hash."""
    return (found for found in all_sets(store) if found.published)


def all_sets(store: Store) -> Iterator[SetFolder]:
    """The sets of a corpus, complete or not, by name and config hash."""
    for name in store.list(ROOT):
        for hashed in store.list(f"{ROOT}/{name}"):
            yield SetFolder(store, f"{ROOT}/{name}/{hashed}")


def plan_name(number: int) -> str:
    """Path of a tar's plan below the set."""
    return f"{PLANS}/{number:06d}.parquet"


def note_name(number: int) -> str:
    """Path of a tar's note below the set."""
    return f"{NOTES}/{number:06d}.json"


def encode_plan(tar: PlannedTar) -> bytes:
    """The plan of one tar as Parquet bytes; bucket and path are in the footer."""
    fields = {
        "path": tar.path,
        "resolution": str(tar.resolution),
        "aspect": tar.aspect,
        "width": str(tar.width),
        "height": str(tar.height),
    }
    return encode_part(tar.rows, fields)


def decode_plan(number: int, content: bytes) -> PlannedTar:
    """The inverse of `encode_plan`."""
    file = pq.ParquetFile(pa.BufferReader(content))
    footer = own_footer(file.schema_arrow)
    return PlannedTar(
        number,
        footer["path"],
        int(footer["resolution"]),
        footer["aspect"],
        int(footer["width"]),
        int(footer["height"]),
        file.read().replace_schema_metadata(None),
    )

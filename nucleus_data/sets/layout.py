"""The files of a training set's folder, `sets/<name>/<config hash>/` of a corpus.

<resolution>/<aspect>/000000.tar            samples: `<id>.jpg` (or `.webp`) and `<id>.json`
<resolution>/<aspect>/000000.index.parquet  one row per sample of the tar (`index`)
captions/<config hash>/<resolution>/<aspect>/000000.parquet   a caption edition (`editions`)
columns/<config hash>/<resolution>/<aspect>/000000.parquet    scores, tier, bucket (`columns`)
encoded/<config hash>/...                   latents and text states (`encoded`)
left_out.parquet                            records that are not in a resolution, and why
manifest.parquet                            one row per tar; written last, it publishes the set
_plan/, _done/                              only while the set is being made (`planned`)
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from nucleus_data.corpus.store import Store
from nucleus_data.errors import CorpusError, OlderLayoutError, RequestError
from nucleus_data.sets.beside import Beside, encode, read
from nucleus_data.sets.columns import COLUMNS, Columns
from nucleus_data.sets.editions import CAPTIONS, Edition
from nucleus_data.sets.index import INDEX_SCHEMA, index_name

ROOT = "sets"
MANIFEST = "manifest.parquet"
LEFT_OUT = "left_out.parquet"
ABOUT = "nucleus.about"  # key in the manifest's metadata
DIGITS = 4  # fewest digits of a config hash that can stand for it

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
        pa.field("index_sha256", pa.string()),
    ]
)
LEFT_OUT_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("resolution", pa.int32()),
        pa.field("reason", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class TarEntry:
    """One tar of a set: a row of the manifest.

    Attributes:
        path: Its path below the set's folder.
        resolution: Side of the square bucket, in pixels.
        aspect: The aspect bucket, for example `4x3`.
        width: Width of a training picture, in pixels.
        height: Height of a training picture, in pixels.
        samples: Number of its samples.
        bytes: Its size in bytes.
        sha256: SHA-256 of the tar.
        index_sha256: SHA-256 of its index.
    """

    path: str
    resolution: int
    aspect: str
    width: int
    height: int
    samples: int
    bytes: int
    sha256: str
    index_sha256: str


@dataclass(frozen=True)
class SetFolder:
    """The folder of a training set.

    Attributes:
        store: The store that holds the set.
        path: `sets/<name>/<config hash>` in a corpus; empty if the store's root is the set.
    """

    store: Store
    path: str = ""

    @property
    def published(self) -> bool:
        """Whether all tars are complete: whether there is a manifest."""
        name = self.name(MANIFEST)
        return name not in self.store.left_out and self.store.exists(name)

    def name(self, file: str) -> str:
        """Returns the path below the store of one of its files."""
        return f"{self.path}/{file}" if self.path else file

    def url(self, file: str = "") -> str:
        """Returns the URL of a file, for other tools; without one, of the folder."""
        return self.store.url(self.name(file) if file else self.path)

    def manifest_table(self) -> pa.Table:
        """Reads the manifest.

        Returns:
            One row per tar, of `MANIFEST_SCHEMA`.

        Raises:
            CorpusError: It is missing, or lacks columns, or one of its paths leads out of the set.
            OlderLayoutError: It belongs to a set without indexes.
            DamagedError: It can't be read.
        """
        url = self.url(MANIFEST)
        try:
            table = read(self.store, self.name(MANIFEST))
        except FileNotFoundError as error:
            raise CorpusError(
                f"{url} is missing: the folder is not a training set, or not a finished one; "
                "run nucleus shard (again)"
            ) from error
        if missing := [n for n in MANIFEST_SCHEMA.names if n not in table.column_names]:
            lacking = (
                f"it lacks the columns {', '.join(missing)}; write the set again: nucleus shard "
                "(the old one stays where it is)"
            )
            if missing == ["index_sha256"]:
                found = "belongs to a set of the older layout without indexes"
                raise OlderLayoutError(f"{url} {found}: {lacking}")
            raise CorpusError(f"{url} is damaged: {lacking}")
        table = table.select(MANIFEST_SCHEMA.names).replace_schema_metadata(None)
        table = table.cast(MANIFEST_SCHEMA)
        # A set may come from anyone: its paths must not make us read files outside of it.
        for text in table.column("path").to_pylist():
            path = PurePosixPath(text)
            if path.is_absolute() or ".." in path.parts:
                raise CorpusError(f"{url}: the path {text!r} leads outside the set")
        return table

    def about(self) -> dict[str, Any]:
        """Reads what holds for all pictures: format, quality, crop, crop_loss, and psnr.

        `psnr` measures the loss by encoding, in dB, on the pictures that were measured; None if all
        are originals.
        """
        metadata = read(self.store, self.name(MANIFEST)).schema.metadata or {}
        about: dict[str, Any] = json.loads(metadata.get(ABOUT.encode(), b"{}"))
        return about

    def manifest(self) -> list[TarEntry]:
        """Returns its tars, in the manifest's order. Raises the errors of `manifest_table`."""
        return [TarEntry(**row) for row in self.manifest_table().to_pylist()]

    def index(self, tar: str) -> pa.Table:
        """Reads the index of a tar.

        Args:
            tar: The tar's path below the set.

        Returns:
            One row per sample in the tar's order, of `INDEX_SCHEMA`.

        Raises:
            FileNotFoundError: There is no index.
            DamagedError: The index can't be read.
        """
        return read(self.store, self.name(index_name(tar)), INDEX_SCHEMA)

    def editions(self) -> list[Edition]:
        """Returns its published caption editions, ordered by config hash."""
        editions = (self.new_edition(h) for h in self.store.list(self.name(CAPTIONS)))
        return [edition for edition in editions if edition.published]

    def new_edition(self, config_hash: str) -> Edition:
        """Returns the edition with a config hash, which need not exist yet."""
        return Edition(self.store, self.name(f"{CAPTIONS}/{config_hash}"))

    def edition(self, name: str | None = None) -> Edition:
        """Returns one of its published editions.

        Args:
            name: The edition's name (the value of `shard.captions`), or 4 or more digits of its
                config hash; None for the only one.

        Raises:
            RequestError: There is no such edition, or several match.
        """
        every = self.editions()
        fitting = [e for e in every if name is None or _is_named(e, name)]
        if len(fitting) == 1:
            return fitting[0]
        known = "; ".join(f"{e.hash} ({e.name})" for e in every) or "none"
        asked = "" if name is None else f" {name!r}"
        what = "several caption editions" if fitting else "no caption edition"
        raise RequestError(
            f"{self.url()} has {what}{asked}; available: {known}. "
            + ("Give the hash of one" if every else "Run: nucleus shard")
        )

    def new_columns(self, config_hash: str) -> Columns:
        """Returns the index columns with a config hash, which need not exist yet."""
        return Columns(self.store, self.name(f"{COLUMNS}/{config_hash}"))

    def all_columns(self) -> list[Columns]:
        """Returns its published index columns, ordered by config hash."""
        every = (self.new_columns(h) for h in self.store.list(self.name(COLUMNS)))
        return [columns for columns in every if columns.published]

    def columns(self, config_hash: str | None = None) -> Columns:
        """Returns its published index columns with a config hash.

        Args:
            config_hash: 4 or more digits of the hash; None for the only ones.

        Raises:
            RequestError: There are none, or several match.
        """
        every = self.all_columns()
        fitting = [c for c in every if config_hash is None or _has_hash(c, config_hash)]
        if len(fitting) == 1:
            return fitting[0]
        known = ", ".join(c.hash for c in every) or "none"
        what = "several index columns" if fitting else "no index columns"
        raise RequestError(
            f"{self.url()} has {what} {config_hash or ''}; available: {known}. "
            + ("Give the hash of one" if every else "Run: nucleus shard")
        )

    def left_out(self) -> pa.Table:
        """Reads which selected records are not in which resolution, and why: `LEFT_OUT_SCHEMA`."""
        return read(self.store, self.name(LEFT_OUT), LEFT_OUT_SCHEMA)

    def write_left_out(self, rows: pa.Table) -> None:
        """Writes which selected records are not in which resolution, and why."""
        self.store.create(self.name(LEFT_OUT), encode(rows))

    def publish(
        self, rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any] = MappingProxyType({})
    ) -> pa.Table:
        """Writes the manifest, by which the set is complete.

        Args:
            rows: One per tar, with the fields of `MANIFEST_SCHEMA`.
            about: What holds for all pictures, for the file's metadata (see the method `about`).

        Returns:
            The manifest.
        """
        text = json.dumps(dict(about), sort_keys=True)
        table = pa.Table.from_pylist(list(rows), MANIFEST_SCHEMA)
        table = table.replace_schema_metadata({ABOUT: text})
        self.store.create(self.name(MANIFEST), encode(table))
        return table


def published_sets(store: Store) -> Iterator[SetFolder]:
    """Yields the complete sets of a corpus, ordered by name and config hash."""
    return (found for found in all_sets(store) if found.published)


def all_sets(store: Store) -> Iterator[SetFolder]:
    """Yields the sets of a corpus, complete or not, ordered by name and config hash."""
    for name in store.list(ROOT):
        for hashed in store.list(f"{ROOT}/{name}"):
            yield SetFolder(store, f"{ROOT}/{name}/{hashed}")


def _is_named(edition: Edition, name: str) -> bool:
    return edition.name == name or _has_hash(edition, name)


def _has_hash(folder: Beside, digits: str) -> bool:
    return len(digits) >= DIGITS and folder.hash.startswith(digits)

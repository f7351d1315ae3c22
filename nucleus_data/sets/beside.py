"""Parquet files beside a set's tars, a row a sample, in the tar's order.

An edition of captions and columns of scores are both such: a folder named by its config hash, a
file a tar below it, and a JSON file that is written last and publishes the whole.
"""

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.corpus.damaged import damaged, read_json, read_whole, reading
from nucleus_data.corpus.store import Store
from nucleus_data.errors import CorpusError

TAR, PARQUET = ".tar", ".parquet"


def encode(rows: pa.Table) -> bytes:
    """A table as Parquet bytes; the same rows give the same bytes.

    Each page has a checksum: a changed byte is an error where it is read.
    """
    sink = pa.BufferOutputStream()
    options = {"compression": "zstd", "use_dictionary": False, "write_page_checksum": True}
    pq.write_table(rows, sink, **options)
    return sink.getvalue().to_pybytes()


def read(store: Store, name: str, schema: pa.Schema | None = None) -> pa.Table:
    """A Parquet file of a set.

    Args:
        store: The store.
        name: Its path.
        schema: What it must have; other columns are left out. None for whatever it has.

    Raises:
        FileNotFoundError: There is none.
        DamagedError: It cannot be read, or lacks columns.
    """
    content = read_whole(store, name)
    with reading(store, name):
        # `pq.read_table` would make a data set of it first: four times as long for a small file.
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        table = file.read(use_threads=False)
        if schema is None:
            return table
        if missing := [field for field in schema.names if field not in table.column_names]:
            raise damaged(store, name, f"it has no column {', '.join(missing)}")
        return table.select(schema.names).cast(schema)


class Beside:
    """Files beside a set's tars, under one config hash.

    Args:
        store: The store that holds the set.
        path: Their folder, `<set>/captions/<config hash>`.
        marker: Name of the JSON file that publishes them.

    Attributes:
        hash: The config hash.
    """

    def __init__(self, store: Store, path: str, marker: str) -> None:
        self.store, self.path, self.marker = store, path, marker
        self.hash = path.rsplit("/", 1)[-1]
        self._about: dict[str, Any] | None = None

    def file(self, tar: str) -> str:
        """Path of the file beside a tar; `tar` is the tar's path below the set."""
        return f"{self.path}/{tar.removesuffix(TAR)}{PARQUET}"

    @property
    def published(self) -> bool:
        """Whether all files are there."""
        name = f"{self.path}/{self.marker}"
        return name not in self.store.left_out and self.store.exists(name)

    @property
    def about(self) -> Mapping[str, Any]:
        """What its JSON file says. Raises FileNotFoundError."""
        if self._about is None:
            self._about = read_json(self.store, f"{self.path}/{self.marker}")
        return self._about

    def write(self, tar: str, rows: pa.Table) -> int:
        """Writes the file beside a tar; returns its size in bytes.

        Raises:
            CorpusError: Another file is there.
        """
        content, name = encode(rows), self.file(tar)
        if not self.store.create(name, content):
            raise CorpusError(
                f"{self.store.url(name)} is there with other content; remove the folder "
                f"'{self.store.url(self.path)}' and run the same command again"
            )
        return len(content)

    def publish(self, about: Mapping[str, Any]) -> None:
        """Writes the JSON file: everything is there."""
        content = json.dumps(about, sort_keys=True, ensure_ascii=False, indent=1)
        self.store.create(f"{self.path}/{self.marker}", content.encode())

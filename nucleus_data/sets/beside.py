"""Parquet files beside a set's tars, with one row per sample, in the tar's order.

Caption editions and index columns have this form: a folder named by its config hash, with one file
per tar, and a JSON file that is written last and publishes the folder.
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
    """Encodes a table as Parquet; the same rows give the same bytes.

    Each page has a checksum, so that reading a changed byte raises.
    """
    sink = pa.BufferOutputStream()
    options = {"compression": "zstd", "use_dictionary": False, "write_page_checksum": True}
    pq.write_table(rows, sink, **options)
    return sink.getvalue().to_pybytes()


def read(store: Store, name: str, schema: pa.Schema | None = None) -> pa.Table:
    """Reads a Parquet file of a set.

    Args:
        store: The store that holds the set.
        name: The file's path below the store.
        schema: Columns to read and the types to cast them to; None for all columns as they are.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedError: The file can't be read, or lacks columns.
    """
    content = read_whole(store, name)
    with reading(store, name):
        # Not `pq.read_table`: it builds a dataset first, which takes four times as long for a
        # small file.
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        table = file.read(use_threads=False)
        if schema is None:
            return table
        if missing := [field for field in schema.names if field not in table.column_names]:
            raise damaged(store, name, f"it has no column {', '.join(missing)}")
        return table.select(schema.names).cast(schema)


class Beside:
    """A folder of files beside a set's tars, under one config hash.

    Args:
        store: The store that holds the set.
        path: The folder below the store, for example `<set>/captions/<config hash>`.
        marker: Name of the JSON file that publishes the folder.

    Attributes:
        hash: The config hash.
    """

    def __init__(self, store: Store, path: str, marker: str) -> None:
        self.store, self.path, self.marker = store, path, marker
        self.hash = path.rsplit("/", 1)[-1]
        self._about: dict[str, Any] | None = None

    def file(self, tar: str) -> str:
        """Returns the path of the file beside a tar; `tar` is the tar's path below the set."""
        return f"{self.path}/{tar.removesuffix(TAR)}{PARQUET}"

    @property
    def published(self) -> bool:
        """Whether the folder is complete."""
        name = f"{self.path}/{self.marker}"
        return name not in self.store.left_out and self.store.exists(name)

    @property
    def about(self) -> Mapping[str, Any]:
        """The content of its JSON file. Raises FileNotFoundError if it is not published."""
        if self._about is None:
            self._about = read_json(self.store, f"{self.path}/{self.marker}")
        return self._about

    def write(self, tar: str, rows: pa.Table) -> int:
        """Writes the file beside a tar.

        Args:
            tar: The tar's path below the set.
            rows: One row per sample, in the tar's order.

        Returns:
            The file's size in bytes.

        Raises:
            CorpusError: The file exists with other content.
        """
        content, name = encode(rows), self.file(tar)
        if not self.store.create(name, content):
            raise CorpusError(
                f"{self.store.url(name)} exists with other content; remove the folder "
                f"'{self.store.url(self.path)}' and run the same command again"
            )
        return len(content)

    def publish(self, about: Mapping[str, Any]) -> None:
        """Writes the JSON file, by which the folder is complete; `about` is its content."""
        content = json.dumps(about, sort_keys=True, ensure_ascii=False, indent=1)
        self.store.create(f"{self.path}/{self.marker}", content.encode())

"""A corpus: one data set under one root URI, and the layout of its files.

CORPUS/
  corpus.json                                    format version; whether several writers are safe
  claims/000017.parquet                          which upstream rows shard 17 is made of (ingest)
  images/000017.tar                              original bytes
  tables/<table>/<config hash>/000017-0.parquet  shard 17, part 0
  sets/<name>/<config hash>/<resolution>/<aspect>/000000.tar
  runs/<run>/                                    plan.json, failures, timings, reports, checkpoints
  blocked/000000.parquet                         the block list (`blocked`)
  takedowns/<request>-<n>/                       which records were taken down, without content
  exported/<hash>.json                           targets of exports (`exported`)
"""

import copy
import json
import warnings
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from nucleus_data.corpus.at_once import at_once
from nucleus_data.corpus.connections import check_part, connect
from nucleus_data.corpus.damaged import CORPUS as MARKER
from nucleus_data.corpus.damaged import (
    PUBLISHED,
    WHOLE,
    DamagedError,
    DamagedWarning,
    read_json,
)
from nucleus_data.corpus.records import Records
from nucleus_data.corpus.refused import not_opened
from nucleus_data.corpus.runs import plans, run_names
from nucleus_data.corpus.store import Store
from nucleus_data.corpus.tables import PAIRS_SCHEMA, Table, plain
from nucleus_data.corpus.told import command as told
from nucleus_data.corpus.told import ingesting
from nucleus_data.errors import RequestError
from nucleus_data.hashing import config_hash

FORMAT = 1
RECORDS_VERSION = 1
PAIRS = "dedup"


class Corpus:
    """Opens a corpus.

    Args:
        uri: Root: a local path or an fsspec URL (`s3://…`, `gs://…`).
        storage_options: Passed to fsspec.
        create: Whether to create the corpus if there is none.
        dry_run: Whether to write nothing; with `create`, a missing corpus is treated as empty.

    Attributes:
        several_writers: Whether the store supports create-if-absent, so that several processes may
            write to the corpus at once.
        left_out: Damaged files that its tables are read without; see `without`.

    Raises:
        RequestError: There is no corpus, it has another format, or its store can't be read.
    """

    def __init__(
        self,
        uri: str,
        storage_options: Mapping[str, Any] | None = None,
        *,
        create: bool = False,
        dry_run: bool = False,
    ) -> None:
        self.uri = uri
        self.store = Store(uri, storage_options)
        try:
            marker = read_json(self.store, MARKER)
        except FileNotFoundError:
            if not create:
                raise RequestError(
                    f"there is no corpus at {uri!r} (no {MARKER}). To make one, run: "
                    f"{ingesting(uri)}"
                ) from None
            marker = {"format": FORMAT} if dry_run else self._create()
        except DamagedError as error:
            raise RequestError(str(error)) from None
        except RequestError:
            raise
        except Exception as error:  # of the store's library: no credentials, no connection
            raise not_opened(uri, error) from error
        found = marker.get("format")
        if found != FORMAT:
            raise RequestError(
                f"{uri}/{MARKER}: the corpus has format {found!r}; this version of "
                f"nucleus-data reads and writes format {FORMAT}. Use the version that made it, "
                "or ingest the source into a new corpus"
            )
        self.several_writers: bool = bool(marker.get("several_writers", False))
        self.left_out: tuple[DamagedError, ...] = ()
        self._connection: duckdb.DuckDBPyConnection | None = None

    def _create(self) -> dict[str, Any]:
        """Writes `corpus.json` of a new corpus, after testing create-if-absent on the store."""
        probe = "claims/probe"
        self.store.remove(probe)
        self.store.create(probe, b"first")
        # Without create-if-absent, two writers would overwrite each other's parts unnoticed.
        safe = not self.store.create(probe, b"second") and self.store.read(probe) == b"first"
        self.store.remove(probe)
        marker = {"format": FORMAT, "several_writers": safe}
        self.store.create(MARKER, json.dumps(marker, sort_keys=True).encode())
        return marker

    @property
    def records(self) -> Records:
        """The table `records`."""
        return Records(self.store, "records", RECORDS_HASH)

    def at(self, name: str, config_hash: str) -> Table:
        """Returns a table by name and config hash."""
        kind = Records if name == "records" else Table
        return kind(self.store, name, config_hash)

    def shards(self) -> list[int]:
        """Numbers of the image shards whose records are committed, ascending."""
        return self.records.shards()

    def parts_hash(self, tables: Mapping[str, str]) -> str:
        """Hashes the names of tables' parts, to identify the input of a corpus-wide stage.

        Args:
            tables: Table name -> config hash.
        """
        names: dict[str, list[str]] = {}
        for name, hashed in tables.items():
            table = Table(self.store, name, hashed)
            names[f"{name}/{hashed}"] = table.part_names()
            names[f"{name}/{hashed}/failed"] = table.failed.part_names()
        return config_hash(names)

    def config_hashes(self, name: str) -> list[str]:
        """Returns the config hashes of a table's versions, or of those that `NAME@DIGITS` fits."""
        hashes = self.store.list(f"tables/{plain(name)}")
        return [hashed for hashed in hashes if hashed.startswith(name.partition("@")[2])]

    def runs(self) -> list[str]:
        """Names of runs, oldest first."""
        return run_names(self.store)

    def pinned(self, name: str) -> str:
        """Returns the config hash of a table: its only one, or the one that the newest run pinned.

        Raises:
            RequestError: There is no such table, or no run pinned one of its several versions.
        """
        hashes = self.config_hashes(name)
        if len(hashes) == 1:
            return hashes[0]
        for _, plan in plans(self.store):
            pinned = plan.get("tables")
            if isinstance(pinned, dict) and pinned.get(name) in hashes:
                return str(pinned[name])
        known = ", ".join(self.store.list("tables")) or "none yet"
        raise RequestError(
            f"no table {name!r} in {self.uri} "
            f"(config hashes: {', '.join(hashes) or 'none'}). Tables: {known}"
        )

    def connection(self) -> duckdb.DuckDBPyConnection:
        """Returns a DuckDB connection that can read the corpus's store; opened once."""
        if self._connection is None:
            self._connection = connect(self.store)
        return self._connection

    def table(self, name: str, config_hash: str | None = None) -> duckdb.DuckDBPyRelation:
        """Returns a table as a DuckDB relation.

        For a stage with several tables (`inspect.*`), its name (`inspect`) joins all of them.
        Damaged parts are left out, with a warning.

        Args:
            name: A table (`records`, `inspect.tone`, `selection`, `caption.short@1a2b3c4d`) or a
                stage with several tables (`inspect`, `embed`, `caption`).
            config_hash: The table's version; by default, as in `pinned`.

        Raises:
            RequestError: There is no such table, or it has no rows.
        """
        if self.config_hashes(name):
            return self._relation(self.at(name, config_hash or self.pinned(name)))
        groups = [t for t in self.store.list("tables") if t.startswith(f"{name}.")]
        if not groups:
            self.pinned(name)  # raises, with the tables that there are
        # A table of which all rows failed retryably has no part yet.
        full = [g for g in groups if self.at(g, self.pinned(g)).part_names()]
        joined = self._group((full or groups)[0])
        for group in full[1:]:
            joined = joined.join(self._group(group), "shard, row, id", how="outer")
        return joined

    def rows(self, table: Table) -> duckdb.DuckDBPyRelation:
        """Returns all rows of a table that has a part; unlike `table`, with no part left out.

        Raises:
            duckdb.Error: A part can't be opened; `looking.going_without` finds out which.
        """
        return self.connection().sql(f"SELECT * FROM {table.sql()}")

    def _relation(self, table: Table) -> duckdb.DuckDBPyRelation:
        """Returns a table as a DuckDB relation, without parts that can't be opened."""
        if not table.part_names():
            return self._empty(table)
        found: list[DamagedError] = []
        if table.whole_parts():
            try:
                return self.rows(table)
            except (duckdb.Error, DamagedError):
                found = self.damaged(table.name, table.config_hash)
                if not found:
                    raise
        rest = self.without(found).at(table.name, table.config_hash)
        if not rest.whole_parts():
            raise found[0] if found else RequestError(f"no part of {table.name} can be read")
        for error in found:
            warnings.warn(f"left out: {error}", DamagedWarning, stacklevel=3)
        return self.rows(rest)

    def _empty(self, table: Table) -> duckdb.DuckDBPyRelation:
        """Returns an empty relation for a finished table of pairs; else raises RequestError."""
        if table.name != PAIRS or not self.store.exists(f"{table.folder}/{PUBLISHED}"):
            stage = WHOLE.get(table.name, table.name.split(".")[0])
            raise RequestError(
                f"{table.name}/{table.config_hash} has no rows in {self.uri}: it is not finished, "
                f"or everything failed; run: {told(stage, self.uri)}\n"
                f"or, if the failures may be temporary: {told('retry', self.uri)}"
            )
        return self.connection().from_arrow(PAIRS_SCHEMA.empty_table())

    def damaged(self, name: str, config_hash: str | None = None) -> list[DamagedError]:
        """Reads all parts of a table, and returns an error for each damaged one.

        Args:
            name: The table.
            config_hash: The table's version; by default, as in `pinned`.
        """
        table = self.at(name, config_hash or self.pinned(name))
        found = (
            error
            for one in table.with_companions().values()
            for error in at_once(
                self.store, partial(check_part, self.connection(), one), one.part_names()
            )
        )
        return [error for error in found if error is not None]

    def without(self, found: Iterable[DamagedError]) -> "Corpus":
        """Returns the same corpus with damaged files to skip; only for read-only commands."""
        found = tuple(found)
        other = copy.copy(self)
        other.store = self.store.without(error.name for error in found)
        other.left_out = (*self.left_out, *found)
        return other

    def _group(self, group: str) -> duckdb.DuckDBPyRelation:
        """Returns one of a stage's tables, with columns renamed to be unique in a join."""
        relation = self.table(group)
        keys = ("shard", "row", "id")
        short = group.split(".", 1)[1]
        variants = group.startswith("caption.")  # all of these have the same columns
        taken = set(relation.columns) - set(keys) if variants else {"error"}
        columns = ", ".join(
            f'"{column}" as "{short}_{column}"' if column in taken else f'"{column}"'
            for column in relation.columns
        )
        return relation.project(columns).set_alias(short)

    def failed_rows(self, table: Table, shard: int) -> np.ndarray:
        """Returns the rows of a shard with a retryable failure, and no value since; ascending."""
        failed: pa.Table | None = table.failed.read(shard, ["row"])
        if failed is None:
            return np.empty(0, np.int64)
        return np.setdiff1d(failed.column("row").to_numpy(), table.covered(shard))


RECORDS_HASH = config_hash({"table": "records", "version": RECORDS_VERSION})

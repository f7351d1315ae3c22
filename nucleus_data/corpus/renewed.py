"""Newer versions of a table in which some rows are computed again (`nucleus retry caption`).

The rows are captions that a check or a condition rejected. As parts never change, they go into a
new table, whose config hash is derived from the settings and from the list of these rows. All other
rows are copied from the earlier table. That one stays, and can be read by its full name
(`caption.short@1a2b3c4d`). Code that reads tables needs to know nothing of this.

    tables/again.caption.short/<hash>/          the list: rows, their attempts so far, and reasons
    tables/caption.short/<newer>/_copies.json   written before the first row is copied
    tables/caption.short/<hash>/_again.json     names the list that follows this table

`_again.json` is written last, after all copies. From then on, the configuration means the newer
table. A table with `_copies.json` whose `_again.json` is missing is half copied: the same command
continues, and nothing else reads the table.

Workers find the rows, one shard at a time. Until all are found, the list has no config hash, so it
is kept as a draft in the run's folder.
"""

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence

import pyarrow as pa

from nucleus_data.corpus.damaged import read_json
from nucleus_data.corpus.parts import KEY_FIELDS
from nucleus_data.corpus.store import Store
from nucleus_data.corpus.tables import Table
from nucleus_data.hashing import config_hash

PREFIX = "again."
MARKER = "_again.json"
COPIES = "_copies.json"
RETRY = "nucleus retry caption"
SCHEMA = pa.schema([*KEY_FIELDS, pa.field("attempts", pa.int32()), pa.field("reason", pa.string())])


def list_name(table: str) -> str:
    """Returns the name of the table that holds the lists of a table's rows."""
    return PREFIX + table


def next_list(store: Store, table: str, config_hash: str) -> str | None:
    """Returns the config hash of the list that follows a table; None if there is none.

    Args:
        store: The corpus's store.
        table: The table's name.
        config_hash: The table's config hash.

    Raises:
        DamagedError: The table's `_again.json` can't be read.
    """
    try:
        marker = read_json(store, _marker(table, config_hash))
    except FileNotFoundError:
        return None
    return str(marker["list"])


def publish(store: Store, table: str, config_hash: str, listed: str) -> bool:
    """Publishes the newer table; returns False if another list was published first.

    Args:
        store: The corpus's store.
        table: The table's name.
        config_hash: Config hash of the earlier table.
        listed: Config hash of the list.
    """
    content = json.dumps({"list": listed}, sort_keys=True).encode()
    made = store.create(_marker(table, config_hash), content)
    return made or next_list(store, table, config_hash) == listed


def note_copies(
    store: Store,
    tables: Mapping[str, str],
    before: tuple[str, str],
    listed: str,
    options: Sequence[str],
) -> None:
    """Writes `_copies.json` to the newer tables, before rows are copied into them.

    Args:
        store: The corpus's store.
        tables: Config hashes of the newer tables, by name.
        before: Name and config hash of the table of which some rows are computed again.
        listed: Config hash of the list.
        options: Options of the `nucleus retry caption` that requested this.
    """
    table, hashed = before
    content = {"table": table, "before": hashed, "list": listed, "options": list(options)}
    data = json.dumps(content, sort_keys=True).encode()
    for name, newer in tables.items():
        # The same request with its options in another order may have begun the copy.
        store.create(f"tables/{name}/{newer}/{COPIES}", data)


def half_copied(store: Store, name: str, config_hash_: str) -> str:
    """Returns the command that completes a half-copied table; empty if it is not half copied.

    Args:
        store: The corpus's store.
        name: Name of the table, or of a list.
        config_hash_: Config hash of the table, or of the list.

    Raises:
        DamagedError: `_again.json` or `_copies.json` can't be read.
    """
    if name.startswith(PREFIX):
        table = name.removeprefix(PREFIX)
        published = (next_list(store, table, hashed) for hashed in store.list(f"tables/{table}"))
        return "" if config_hash_ in published else RETRY
    try:
        note = read_json(store, f"tables/{name}/{config_hash_}/{COPIES}")
    except FileNotFoundError:
        return ""
    if next_list(store, note["table"], note["before"]) == note["list"]:
        return ""
    return shlex.join([*RETRY.split(), *note["options"]])


def digest_of(rows: pa.Table) -> int:
    """Hashes a shard's part of a list, rows and attempts, to an integer below 2^256.

    The digests of shards are added up, in any order, to that of the whole list (AdHash: Bellare and
    Micciancio, A New Paradigm for Collision-Free Hashing, 1997). So no process needs the whole
    list.

    Args:
        rows: The rows, with the schema `SCHEMA`, sorted by row.
    """
    columns = [rows.column(name).to_pylist() for name in ("shard", "row", "attempts")]
    return int(hashlib.sha256(json.dumps(columns).encode()).hexdigest(), 16)


def hash_of(table: str, config_hash_: str, digest: int) -> str:
    """Returns the config hash of a list, from the earlier table, the rows and their attempts.

    Args:
        table: The table's name.
        config_hash_: Config hash of the earlier table.
        digest: Sum of the shards' `digest_of`.
    """
    rows = f"{digest % (1 << 256):064x}"
    return config_hash({"table": list_name(table), "before": config_hash_, "rows": rows})


def attempts_of(store: Store, table: str, tables: Mapping[str, str], shard: int) -> dict[int, int]:
    """Returns row -> number of attempts so far, for a shard's rows that are computed again.

    Args:
        store: The corpus's store.
        table: The table's name.
        tables: Pinned config hashes by table, with that of the list if there is one.
        shard: The shard's number.
    """
    name = list_name(table)
    if name not in tables:
        return {}
    listed = Table(store, name, tables[name]).read(shard, ["row", "attempts"])
    if listed is None:
        return {}
    return dict(zip(*(listed.column(c).to_pylist() for c in ("row", "attempts")), strict=True))


def draft_of(store: Store, table: str, folder: str) -> Table:
    """Returns the draft of a list, to which workers append until all rows are found.

    Args:
        store: The corpus's store.
        table: The table's name.
        folder: The run's folder, below the corpus.
    """
    return Table(store, list_name(table), "", folder=f"{folder}/{list_name(table)}")


def _marker(table: str, config_hash: str) -> str:
    return f"tables/{table}/{config_hash}/{MARKER}"

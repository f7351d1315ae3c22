"""Rows that are asked about again although they were: captions that a check or a condition refused.

Parts never change, so a table whose rows are made again is another table: its config hash is that
of the settings and of the list of those rows. All its other rows are copied from the earlier one,
which stays as it is and can be named (`caption.short@1a2b3c4d`). So readers know nothing of it.

    tables/again.caption.short/<hash>/   the list: which rows, how many attempts there were, and why
    tables/caption.short/<newer>/_copies.json   what is copied into this table, before any row is
    tables/caption.short/<hash>/_again.json   names the list that came after this table

The last of these files is written when everything else is copied; from then on the newer table is
the one of the configuration. A table with a note of copies and no such file is half copied: the
same command goes on, and nobody else reads it.

Workers find the rows, a shard at a time, and leave them in a draft of the list below the run, as
the list's name is not known before all are found.
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
    """The name of the lists of a table's rows."""
    return PREFIX + table


def next_list(store: Store, table: str, config_hash: str) -> str | None:
    """Config hash of the list of rows that were asked about again after a table; None if none were.

    Args:
        store: The corpus's store.
        table: The table's name.
        config_hash: The table's.

    Raises:
        DamagedError: The file that says so can't be read.
    """
    try:
        found = read_json(store, _marker(table, config_hash))
    except FileNotFoundError:
        return None
    return str(found["list"])


def publish(store: Store, table: str, config_hash: str, listed: str) -> bool:
    """Says that the newer table is there; False if another list came first.

    Args:
        store: The corpus's store.
        table: The table's name.
        config_hash: The earlier table's.
        listed: The list's.
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
    """Notes that rows are about to be copied into newer tables.

    Args:
        store: The corpus's store.
        tables: Their config hashes.
        before: The table that is asked about again, and its config hash.
        listed: The list's.
        options: What of `nucleus retry caption` asked for it.
    """
    table, hashed = before
    content = {"table": table, "before": hashed, "list": listed, "options": list(options)}
    data = json.dumps(content, sort_keys=True).encode()
    for name, newer in tables.items():
        # Another wording of the same request may have begun it.
        store.create(f"tables/{name}/{newer}/{COPIES}", data)


def half_copied(store: Store, name: str, config_hash_: str) -> str:
    """The command that ends what was begun, of a table that is half copied; empty for others.

    Args:
        store: The corpus's store.
        name: The table, or a list of rows that are asked about again.
        config_hash_: The table's.

    Raises:
        DamagedError: A file that says so can't be read.
    """
    if name.startswith(PREFIX):
        table = name.removeprefix(PREFIX)
        known = (next_list(store, table, each) for each in store.list(f"tables/{table}"))
        return "" if config_hash_ in known else RETRY
    try:
        found = read_json(store, f"tables/{name}/{config_hash_}/{COPIES}")
    except FileNotFoundError:
        return ""
    if next_list(store, found["table"], found["before"]) == found["list"]:
        return ""
    return shlex.join([*RETRY.split(), *found["options"]])


def digest_of(rows: pa.Table) -> int:
    """A number below 2^256 that stands for the list's rows of one shard, and their attempts.

    Those of many shards are added, in any order (AdHash: Bellare and Micciancio, A New Paradigm for
    Collision-Free Hashing, 1997), so that nobody has to hold or sort the list.

    Args:
        rows: In the schema `SCHEMA`, sorted by row.
    """
    columns = [rows.column(name).to_pylist() for name in ("shard", "row", "attempts")]
    return int(hashlib.sha256(json.dumps(columns).encode()).hexdigest(), 16)


def hash_of(table: str, config_hash_: str, digest: int) -> str:
    """The config hash of a list: of the earlier table, the rows and their attempts.

    Args:
        table: The table's name.
        config_hash_: The earlier table's.
        digest: The sum of what `digest_of` gives for each shard.
    """
    rows = f"{digest % (1 << 256):064x}"
    return config_hash({"table": list_name(table), "before": config_hash_, "rows": rows})


def attempts_of(store: Store, table: str, tables: Mapping[str, str], shard: int) -> dict[int, int]:
    """The rows of a table that are asked about again, with how many attempts there were.

    Args:
        store: The corpus's store.
        table: The table's name.
        tables: Config hashes that are pinned; that of the list is among them, if there is one.
        shard: The shard's number.
    """
    name = list_name(table)
    found = (
        Table(store, name, tables[name]).read(shard, ["row", "attempts"])
        if name in tables
        else None
    )
    if found is None:
        return {}
    return dict(zip(*(found.column(c).to_pylist() for c in ("row", "attempts")), strict=True))


def draft_of(store: Store, table: str, folder: str) -> Table:
    """The list of a table's rows while it is found, before it has a name.

    Args:
        store: The corpus's store.
        table: The table's name.
        folder: The run's, below the corpus.
    """
    return Table(store, list_name(table), "", folder=f"{folder}/{list_name(table)}")


def _marker(table: str, config_hash: str) -> str:
    return f"tables/{table}/{config_hash}/{MARKER}"

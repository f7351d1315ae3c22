"""The plan of a takedown, as stored: the request, its records, and finally what was done.

    takedowns/<request>-<n>/records.parquet   the records, and the locations of their pictures
    takedowns/<request>-<n>/plan.json         written next; from then on the takedown is under way
    takedowns/<request>-<n>/done.json         written last: what was done, and that it was proven

An interrupted takedown continues from these files alone, since records that are already removed can
no longer be queried.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.at_once import at_once
from nucleus_data.corpus.blocked import ID, SHA256, TAKEN_DOWN, URL, Entry, plain_url
from nucleus_data.corpus.damaged import read_json, read_whole, reading
from nucleus_data.corpus.parts import encode_part
from nucleus_data.corpus.store import Store
from nucleus_data.corpus.tables import Table
from nucleus_data.stages.upkeep.find import FOUND_SCHEMA
from nucleus_data.stages.upkeep.request import Request

ROOT = "takedowns"
PLAN, RECORDS, DONE = "plan.json", "records.parquet", "done.json"
# These columns have no content of a record, only its location, and the SHA-256 for proving its
# absence.
_COLUMNS = ("shard", "row", "id", "offset", "size", "sha256")
SCHEMA = pa.schema([FOUND_SCHEMA.field(name) for name in _COLUMNS])


@dataclass(frozen=True)
class TakedownPlan:
    """The plan of one takedown.

    Attributes:
        name: `<request>-<n>`; the number is needed as the same request may find further records
            when it is repeated.
        request: The request.
        records: The records, with the schema `SCHEMA`, sorted by shard and row.
        selections: Config hash of a selection -> content of its marker after the takedown.
        tars: Image shard -> SHA-256 of its tar before the takedown, from its records.
    """

    name: str
    request: Request
    records: pa.Table
    selections: Mapping[str, Any] = field(default_factory=dict)
    tars: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """Folder of the takedown's files, relative to the corpus."""
        return f"{ROOT}/{self.name}"

    def shards(self) -> list[int]:
        """Returns the sorted image shards that contain any of the records."""
        return sorted(self.records["shard"].unique().to_pylist())

    def of_shard(self, shard: int) -> pa.Table:
        """Returns the records of one image shard."""
        start, end = np.searchsorted(self._shards, [shard, shard + 1]).tolist()
        return self.records.slice(start, end - start)

    def ids(self) -> list[str]:
        """Returns the sorted, distinct ids of the records."""
        return self._ids

    # Cached, as each task of a process uses them, and there may be as many tasks as records.
    @cached_property
    def _shards(self) -> NDArray[np.int32]:
        return self.records["shard"].to_numpy()

    @cached_property
    def _ids(self) -> list[str]:
        return sorted(set(self.records["id"].to_pylist()))

    def write(self, store: Store) -> None:
        """Writes the plan; from then on, the takedown is under way."""
        # Overwrites records of an earlier command that was killed before it wrote its plan.
        store.put(f"{self.folder}/{RECORDS}", encode_part(self.records, {}))
        content = {
            "request": self.request.content(),
            "records": self.records.num_rows,
            "selections": dict(self.selections),
            "tars": dict(self.tars),
        }
        store.create(f"{self.folder}/{PLAN}", _json(content))

    def write_done(self, store: Store, content: Mapping[str, Any]) -> None:
        """Marks the takedown as done and proven."""
        store.create(f"{self.folder}/{DONE}", _json(content))


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, indent=1).encode()


def read_plan(store: Store, name: str) -> TakedownPlan:
    """Reads the plan of a takedown that is under way or done.

    Args:
        store: The corpus's store.
        name: Name of the takedown.

    Raises:
        FileNotFoundError: The takedown was not begun.
        DamagedError: A file of the plan can't be read.
    """
    content = read_json(store, f"{ROOT}/{name}/{PLAN}")
    file = f"{ROOT}/{name}/{RECORDS}"
    data = read_whole(store, file)
    with reading(store, file):
        records = (
            pq.read_table(pa.BufferReader(data), use_threads=False)
            .select(SCHEMA.names)
            .cast(SCHEMA)
        )
    return TakedownPlan(
        name,
        Request.read(content["request"]),
        records,
        content["selections"],
        content["tars"],
    )


def done(store: Store, name: str) -> dict[str, Any] | None:
    """Returns what a takedown did; None if it is not done."""
    try:
        return read_json(store, f"{ROOT}/{name}/{DONE}")
    except FileNotFoundError:
        return None


def takedowns(store: Store) -> Iterator[tuple[str, bool]]:
    """Yields the names of all takedowns that were begun, with whether each is done."""
    for name in store.list(ROOT):
        if store.exists(f"{ROOT}/{name}/{PLAN}"):
            yield name, store.exists(f"{ROOT}/{name}/{DONE}")


def next_name(store: Store, request: Request) -> tuple[str, bool]:
    """Returns the name of a request's next takedown, and whether it is already under way."""
    number = 1
    while True:
        name = f"{request.hash}-{number}"
        if not store.exists(f"{ROOT}/{name}/{PLAN}"):
            return name, False
        if not store.exists(f"{ROOT}/{name}/{DONE}"):
            return name, True
        number += 1


def made_plan(corpus: Corpus, name: str, request: Request, found: pa.Table) -> TakedownPlan:
    """Makes a plan from the records that were found; writes nothing.

    Args:
        corpus: The corpus.
        name: Name of the takedown.
        request: The request.
        found: The records, from `find_records`; those that are already taken down are omitted.
    """
    error = pc.fill_null(found["error"], "")
    new = found.filter(pc.not_equal(error, TAKEN_DOWN))
    records = new.select(SCHEMA.names).cast(SCHEMA)
    plan = TakedownPlan(name, request, records)
    tars = {
        f"{shard:06d}": digest for shard, digest in tar_digests(corpus, plan.shards()) if digest
    }
    return replace(plan, selections=selections_after(corpus, plan), tars=tars)


def tar_digests(corpus: Corpus, shards: Sequence[int]) -> Iterator[tuple[int, str | None]]:
    """Yields image shards with the SHA-256 of their tars, from their records."""

    def digest(shard: int) -> str | None:
        return next(iter(corpus.records.metadata(shard)), {}).get("tar_sha256")

    return zip(shards, at_once(corpus.store, digest, shards), strict=True)


def entries_of(request: Request, found: pa.Table) -> list[Entry]:
    """Returns block list entries: the request's own, and each record's id, file and URLs."""
    entries = request.entries()
    for kind, column in ((ID, "id"), (SHA256, "sha256"), (URL, "url"), (URL, "final_url")):
        values = found[column].drop_null().unique().to_pylist()
        plain = plain_url if kind == URL else str
        entries += [Entry(kind, plain(value), TAKEN_DOWN) for value in values if value]
    return entries


def selections_after(corpus: Corpus, plan: TakedownPlan) -> dict[str, Any]:
    """Returns config hash -> content of the marker, for selections that the takedown changes.

    The content is computed before anything changes, so that repeating the takedown does not count
    records twice.
    """
    from nucleus_data.corpus.published import published

    found, shards = {}, plan.shards()
    for hashed in corpus.config_hashes("selection"):
        table = corpus.at("selection", hashed)
        content = published(corpus.store, table.folder)
        if content is None:
            continue
        changed = False
        read = at_once(corpus.store, partial(_decided, table, plan), shards)
        for row in (row for rows in read for row in rows):
            changed = True
            _move(content, row)
        if changed:
            found[hashed] = content
    return found


def _decided(table: Table, plan: TakedownPlan, shard: int) -> list[dict[str, Any]]:
    """Returns a selection's decisions on a shard's records that are taken down."""
    decided = table.read(shard)
    if decided is None:
        return []
    rows = plan.of_shard(shard)["row"].combine_chunks()
    found: list[dict[str, Any]] = decided.filter(pc.is_in(decided["row"], rows)).to_pylist()
    return found


def _move(content: dict[str, Any], row: Mapping[str, Any]) -> None:
    """Moves a record from its state to `failed`, in all counts of a selection."""
    content["states"][row["state"]] -= 1
    content["states"]["failed"] = content["states"].get("failed", 0) + 1
    counts = content["counts"]
    lost = [row["state"]]
    for column in ("reasons", "flags", "nulls", "pending_on"):
        lost += [f"{column}:{item}" for item in row[column] or []]
    if row["state"] == "kept":
        lost += [f"tier:{row['tier']}"] if row["tier"] is not None else []
        lost += [f"curriculum:{row['curriculum'] or 'none'}"] if "curriculum" in row else []
    for name in lost:
        counts[name] -= 1
        if not counts[name]:
            del counts[name]
    for name in ("failed", f"reasons:{TAKEN_DOWN}"):
        counts[name] = counts.get(name, 0) + 1

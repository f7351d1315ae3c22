"""A takedown as it is written down: what is asked, which records that are, and that it is done.

    takedowns/<request>-<n>/records.parquet   which records, and where their pictures lie
    takedowns/<request>-<n>/plan.json         written next: from now on the takedown is under way
    takedowns/<request>-<n>/done.json         written last: what was done, and that it was proven

All that is needed to go on is read from here, since what is taken down can no longer be asked.
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
# Nothing of a record's content: its place, and the SHA-256 by which its absence is proven.
_COLUMNS = ("shard", "row", "id", "offset", "size", "sha256")
SCHEMA = pa.schema([FOUND_SCHEMA.field(name) for name in _COLUMNS])


@dataclass(frozen=True)
class TakedownPlan:
    """One takedown.

    Attributes:
        name: `<request>-<n>`: the same request may find more, when it is made again.
        request: What is asked for.
        records: `SCHEMA`, by shard and row.
        selections: Config hash of a selection -> what is published of it afterwards.
        tars: Image shard -> the SHA-256 of its tar before, as its records had it.
    """

    name: str
    request: Request
    records: pa.Table
    selections: Mapping[str, Any] = field(default_factory=dict)
    tars: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """Its files' folder below the corpus."""
        return f"{ROOT}/{self.name}"

    def shards(self) -> list[int]:
        """The image shards that have one of the records."""
        return sorted(self.records["shard"].unique().to_pylist())

    def of_shard(self, shard: int) -> pa.Table:
        """The records of one image shard."""
        start, end = np.searchsorted(self._shards, [shard, shard + 1]).tolist()
        return self.records.slice(start, end - start)

    def ids(self) -> list[str]:
        """Their ids, each once, ascending."""
        return self._ids

    # Asked for by each of a process's tasks, of which there may be as many as records.
    @cached_property
    def _shards(self) -> NDArray[np.int32]:
        return self.records["shard"].to_numpy()

    @cached_property
    def _ids(self) -> list[str]:
        return sorted(set(self.records["id"].to_pylist()))

    def write(self, store: Store) -> None:
        """Says that the takedown is under way."""
        # What an earlier command wrote, and was killed behind, is not under way.
        store.put(f"{self.folder}/{RECORDS}", encode_part(self.records, {}))
        content = {
            "request": self.request.content(),
            "records": self.records.num_rows,
            "selections": dict(self.selections),
            "tars": dict(self.tars),
        }
        store.create(f"{self.folder}/{PLAN}", _json(content))

    def write_done(self, store: Store, content: Mapping[str, Any]) -> None:
        """Says that it is done and proven."""
        store.create(f"{self.folder}/{DONE}", _json(content))


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, indent=1).encode()


def read_plan(store: Store, name: str) -> TakedownPlan:
    """A takedown that is under way, or done.

    Raises:
        FileNotFoundError: It is not under way.
        DamagedError: A file of it cannot be read.
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
    """What a takedown did; None if it is not done."""
    try:
        return read_json(store, f"{ROOT}/{name}/{DONE}")
    except FileNotFoundError:
        return None


def takedowns(store: Store) -> Iterator[tuple[str, bool]]:
    """All takedowns that were begun, and whether each is done."""
    for name in store.list(ROOT):
        if store.exists(f"{ROOT}/{name}/{PLAN}"):
            yield name, store.exists(f"{ROOT}/{name}/{DONE}")


def next_name(store: Store, request: Request) -> tuple[str, bool]:
    """How a request's takedown is called, and whether it is under way already."""
    number = 1
    while True:
        name = f"{request.hash}-{number}"
        if not store.exists(f"{ROOT}/{name}/{PLAN}"):
            return name, False
        if not store.exists(f"{ROOT}/{name}/{DONE}"):
            return name, True
        number += 1


def made_plan(corpus: Corpus, name: str, request: Request, found: pa.Table) -> TakedownPlan:
    """A plan of what was found; nothing is written.

    Records that were taken down before are left out.
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
    """Image shards with the SHA-256 of their tars, as their records have it."""

    def digest(shard: int) -> str | None:
        return next(iter(corpus.records.metadata(shard)), {}).get("tar_sha256")

    return zip(shards, at_once(corpus.store, digest, shards), strict=True)


def entries_of(request: Request, found: pa.Table) -> list[Entry]:
    """What the block list gets: the request, and each record by its id, its file and its URLs."""
    entries = request.entries()
    for kind, column in ((ID, "id"), (SHA256, "sha256"), (URL, "url"), (URL, "final_url")):
        values = found[column].drop_null().unique().to_pylist()
        plain = plain_url if kind == URL else str
        entries += [Entry(kind, plain(value), TAKEN_DOWN) for value in values if value]
    return entries


def selections_after(corpus: Corpus, plan: TakedownPlan) -> dict[str, Any]:
    """What is published of each selection once the records of a plan are taken down.

    It is worked out before anything changes, so that doing it twice counts nothing twice.
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
    """What a selection says of a shard's records that are taken down."""
    decided = table.read(shard)
    if decided is None:
        return []
    rows = plan.of_shard(shard)["row"].combine_chunks()
    found: list[dict[str, Any]] = decided.filter(pc.is_in(decided["row"], rows)).to_pylist()
    return found


def _move(content: dict[str, Any], row: Mapping[str, Any]) -> None:
    """Counts a record as failed that was in another state, in all sums of a selection."""
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

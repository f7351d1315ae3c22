"""That records are absent: everything that a takedown rewrote is read again and looked through."""

import hashlib
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.blocked import TAKEN_DOWN
from nucleus_data.corpus.images import tar_name
from nucleus_data.corpus.tables import Table
from nucleus_data.errors import CorpusError
from nucleus_data.runner.work import Summary
from nucleus_data.stages.upkeep.plan import TakedownPlan, read_plan
from nucleus_data.stages.upkeep.shards import RECORDS, SELECTION, changes

STEP = 32 << 20
_KEPT = {"shard", "row", "id", "source"}


@dataclass(frozen=True)
class ProveTask:
    """Reads one image shard again (a task of the runner).

    Attributes:
        uri: The corpus.
        storage_options: For fsspec.
        takedown: The takedown's name.
    """

    uri: str
    storage_options: Mapping[str, Any]
    takedown: str

    def run(self, number: int) -> Summary:
        """Raises CorpusError if content of a record is still there; `number` is the shard."""
        corpus = Corpus(self.uri, self.storage_options)
        plan = read_plan(corpus.store, self.takedown)
        for found in still_there(corpus, plan, number):
            raise CorpusError(
                f"takedown {plan.name}: {found}; run the same command again. If it says so again, "
                "another program has put it back"
            )
        return Summary(rows=len(plan.of_shard(number)), done=len(plan.of_shard(number)))


def still_there(corpus: Corpus, plan: TakedownPlan, shard: int) -> Iterator[str]:
    """What there still is of a shard's records that are taken down, in words."""
    mine = plan.of_shard(shard)
    rows = mine["row"].combine_chunks()
    for table, _ in changes(corpus):
        yield from _in_table(table, shard, rows)
    yield from _in_tar(corpus, plan, shard, mine)


def _in_table(table: Table, shard: int, rows: pa.Array) -> Iterator[str]:
    for part in table.parts(shard):
        found = part.read()
        found = found.filter(pc.is_in(found["row"], rows.cast(found["row"].type)))
        for row in found.to_pylist():
            if table.name == RECORDS:
                told = {k for k, v in row.items() if v is not None and k not in _KEPT}
                gone = row["error"] == TAKEN_DOWN and told == {"error", "retryable"}
            elif table.name == SELECTION:
                gone = row["state"] == "failed" and row["reasons"] == [TAKEN_DOWN]
            else:
                gone = False
            if not gone:
                yield f"{part.name} has row {row['row']}"


def _in_tar(corpus: Corpus, plan: TakedownPlan, shard: int, mine: pa.Table) -> Iterator[str]:
    """A picture's place holds zeros, and no member of the tar has its SHA-256."""
    name = tar_name(shard)
    places = {row["offset"]: row for row in mine.to_pylist() if row["offset"] is not None}
    for offset, row in sorted(places.items()):
        for start in range(0, row["size"], STEP):
            size = min(STEP, row["size"] - start)
            if any(corpus.store.read_range(name, offset + start, size)):
                yield f"{name} has bytes of {row['id']}"
                break
    digests = set(plan.records["sha256"].drop_null().to_pylist())
    if not digests or not corpus.store.exists(name):
        return
    with (
        corpus.store.fs.open(corpus.store.path(name), "rb") as file,
        tarfile.open(fileobj=file) as tar,
    ):
        for member in tar:
            data = tar.extractfile(member)
            if data is None:
                continue
            with data:
                digest = hashlib.file_digest(data, "sha256").hexdigest()  # type: ignore[arg-type]
            if digest in digests:
                yield f"{name}: {member.name} has the same bytes as a picture that is taken down"

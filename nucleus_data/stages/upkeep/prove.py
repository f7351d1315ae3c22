"""Proves that records are absent, by reading again everything that a takedown rewrote."""

import hashlib
import tarfile
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.blocked import TAKEN_DOWN
from nucleus_data.corpus.damaged import read_json
from nucleus_data.corpus.tables import Table
from nucleus_data.corpus.tar_names import tar_name
from nucleus_data.errors import CorpusError
from nucleus_data.runner.work import Summary
from nucleus_data.sets.beside import read
from nucleus_data.sets.index import index_name
from nucleus_data.sets.layout import SetFolder
from nucleus_data.stages.upkeep.encoded import still_encoded
from nucleus_data.stages.upkeep.notes import note_folder
from nucleus_data.stages.upkeep.plan import TakedownPlan
from nucleus_data.stages.upkeep.sets import every_beside, stale, write_before
from nucleus_data.stages.upkeep.shards import RECORDS, SELECTION, changes
from nucleus_data.stages.upkeep.tasks import TakedownTask, TarTask

STEP = 32 << 20
_KEPT = {"shard", "row", "id", "source"}


class ProveTask(TakedownTask):
    """Reads one image shard again (a task of the runner)."""

    def run(self, number: int) -> Summary:
        """Raises CorpusError if content of a record is still present; `number` is the shard."""
        corpus, plan = self.opened()
        for found in still_there(corpus, plan, number):
            raise CorpusError(
                f"takedown {plan.name}: {found}; run the same command again. If this message "
                "returns, another program has restored it"
            )
        return Summary(rows=len(plan.of_shard(number)), done=len(plan.of_shard(number)))


def still_there(corpus: Corpus, plan: TakedownPlan, shard: int) -> Iterator[str]:
    """Yields descriptions of what is still present of a shard's records that are taken down."""
    records = plan.of_shard(shard)
    rows = records["row"].combine_chunks()
    for table, _ in changes(corpus):
        yield from _in_table(table, shard, rows)
    yield from _in_tar(corpus, plan, shard, records)


class ProveSetTask(TarTask):
    """Reads one tar of a set, with the files beside it, again (a task of the runner)."""

    def run(self, number: int) -> Summary:
        """Raises CorpusError if a sample is still present; `number` counts the tars of all sets."""
        folder, plan, number = self.opened_set(number)
        for found in still_in_set(folder, plan, number):
            raise CorpusError(f"takedown {plan.name}: {found}; run the same command again")
        return Summary(rows=1, done=1)


def still_in_set(folder: SetFolder, plan: TakedownPlan, number: int) -> Iterator[str]:
    """Yields descriptions of what is still present of a tar's samples that are taken down."""
    store, ids = folder.store, pa.array(plan.ids(), pa.string())
    path, note = write_before(folder, plan)["paths"][number], None
    name = f"{note_folder(plan, folder)}/{number:06d}.json"
    if store.exists(name):
        note = read_json(store, name)
        for old in stale(folder, [note]):
            if store.exists(old):
                yield f"{old} is still there"
        path = note["new"]
    if path is None:  # all samples of the tar were removed
        return
    tables = [(index_name(path), folder.index(path))]
    besides = [one.file(path) for one in every_beside(folder)]
    # An edition that is being written does not have all files yet.
    tables += [(name, read(store, name)) for name in besides if store.exists(name)]
    for name, table in tables:
        if pc.any(pc.is_in(table["id"], ids)).as_py():
            yield f"{name} has one of the records"
    yield from still_encoded(folder, path, plan.ids(), new=note is not None)
    if note is not None:
        known = set(ids.to_pylist())
        file = store.fs.open(store.path(folder.name(path)), "rb")
        with file, tarfile.open(fileobj=file) as tar:
            for member in tar:
                if member.name.partition(".")[0] in known:
                    yield f"{folder.name(path)} has {member.name}"


def _in_table(table: Table, shard: int, rows: pa.Array) -> Iterator[str]:
    for part in table.parts(shard):
        found = part.read()
        found = found.filter(pc.is_in(found["row"], rows.cast(found["row"].type)))
        for row in found.to_pylist():
            if table.name == RECORDS:
                content = {k for k, v in row.items() if v is not None and k not in _KEPT}
                gone = row["error"] == TAKEN_DOWN and content == {"error", "retryable"}
            elif table.name == SELECTION:
                gone = row["state"] == "failed" and row["reasons"] == [TAKEN_DOWN]
            else:
                gone = False
            if not gone:
                yield f"{part.name} has row {row['row']}"


def _in_tar(corpus: Corpus, plan: TakedownPlan, shard: int, records: pa.Table) -> Iterator[str]:
    """Checks that the pictures' bytes are zeros, and that no member has their SHA-256."""
    name = tar_name(shard)
    places = {row["offset"]: row for row in records.to_pylist() if row["offset"] is not None}
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

"""Writes training shards: one task per output tar, deterministic to the byte."""

import hashlib
import json
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.damaged import read_json, read_whole, reading
from nucleus_data.corpus.store import Store
from nucleus_data.errors import CorpusError
from nucleus_data.pixels import PixelError
from nucleus_data.runner.work import Summary
from nucleus_data.sets.beside import encode
from nucleus_data.sets.facts import most
from nucleus_data.sets.index import INDEX_SCHEMA, index_name
from nucleus_data.sets.layout import SetFolder
from nucleus_data.sets.planned import PlannedTar, decode_plan, note_name, plan_name
from nucleus_data.sets.provenance import encode as provenance
from nucleus_data.sets.tars import TarWriter
from nucleus_data.stages.shard.originals import check_original, read_originals
from nucleus_data.stages.shard.pictures import SUFFIX, Stored, passes, stored
from nucleus_data.stages.shard.settings import ShardSettings

UNDECODABLE = "undecodable"  # followed by the decoder's reason: undecodable:corrupt
MEASURED = 64  # the encoding loss is measured for one picture in so many, chosen by id
CHUNK = 1 << 20  # bytes of originals that a thread takes at once
AHEAD = 8  # maximum number of chunks that are made ahead


@dataclass
class Written:
    """A tar while it is being written.

    Attributes:
        index: The rows of its index.
        left_out: The records that could not be decoded.
        sources: Number of samples by source.
        licences: Number of samples by licence; the key is empty if none is stated.
        loss: Measured encoding loss: sum of squared errors, and number of values.
        sha256: SHA-256 of the tar.
        size: Size of the tar, in bytes.
    """

    index: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[dict[str, Any]] = field(default_factory=list)
    sources: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    loss: list[int] = field(default_factory=lambda: [0, 0])
    sha256: str = ""
    size: int = 0


@dataclass(frozen=True)
class TarTask:
    """Writes one training shard from its plan (a task for the runner).

    Attributes:
        uri: The corpus.
        storage_options: Options for fsspec.
        folder: The training set, `sets/<name>/<config hash>`.
        settings: How pictures are stored.
        threads: Number of threads that make pictures.
    """

    uri: str
    storage_options: Mapping[str, Any]
    folder: str
    settings: ShardSettings
    threads: int = 1

    def run(self, number: int) -> Summary:
        """Writes a tar and its index, unless they exist, and a note for the manifest."""
        store = Corpus(self.uri, self.storage_options).store
        folder = SetFolder(store, self.folder)
        try:
            plan = read_plan(folder, number)
        except FileNotFoundError:
            if not folder.published:
                raise
            return Summary()  # another run published the set meanwhile, and removed its plan
        summary = Summary(rows=plan.rows.num_rows)
        if read_note(folder, number) is not None:
            summary.already = plan.rows.num_rows
            return summary
        written, name = Written(), folder.name(plan.path)
        # If an earlier attempt was killed before its note, its tar exists, with the same bytes.
        made = store.create_with(name, lambda file: self._write(folder, plan, file, written))
        index = encode(pa.Table.from_pylist(written.index, INDEX_SCHEMA))
        same = made or store.size(name) == written.size
        if not same or not store.create(index_name(name), index):
            raise CorpusError(
                f"{name} already exists with different content; remove the set and make it again"
            )
        content = {
            **{n: getattr(plan, n) for n in ("path", "resolution", "aspect", "width", "height")},
            "samples": len(written.index),
            "bytes": written.size,
            "sha256": written.sha256,
            "index_sha256": hashlib.sha256(index).hexdigest(),
            "left_out": written.left_out,
            "sources": most(written.sources),
            "licences": most(written.licences),
            "loss": written.loss,
        }
        store.create(folder.name(note_name(number)), json.dumps(content, sort_keys=True).encode())
        summary.done = len(written.index)
        summary.failed.update(row["reason"] for row in written.left_out)
        summary.bytes = sum(row["size"] for row in written.index)
        return summary

    def _write(self, folder: SetFolder, plan: PlannedTar, file: Path, written: Written) -> None:
        """Writes the tar into a local file."""
        suffix = SUFFIX[self.settings.format]
        with TarWriter(file) as tar:
            for one in self._pictures(folder, plan):
                record, found = one.record, one.found
                if isinstance(found, PixelError):
                    reason = f"{UNDECODABLE}:{found.reason}"
                    written.left_out.append({"id": record["id"], "reason": reason})
                    continue
                written.loss = [a + b for a, b in zip(written.loss, one.loss, strict=True)]
                about = provenance({**record, "width": found.width, "height": found.height})
                offset = tar.add(f"{record['id']}.{suffix}", found.data)
                row = {
                    **{name: record[name] for name in ("id", "crop", "shard", "row")},
                    "offset": offset,
                    "size": len(found.data),
                    "json_offset": tar.add(f"{record['id']}.json", about),
                    "json_size": len(about),
                    "width": found.width,
                    "height": found.height,
                    "sha256": one.sha256,
                }
                written.index.append(row)
                written.sources[record["source"] or ""] += 1
                written.licences[record["licence"] or ""] += 1
        written.sha256, written.size = tar.sha256, tar.size

    def _pictures(self, folder: SetFolder, plan: PlannedTar) -> Iterator["Made"]:
        """Yields the plan's records with their pictures, made by threads, in the plan's order."""
        target, store = (plan.width, plan.height), folder.store

        def make(chunk: list[tuple[dict[str, Any], bytes]]) -> list[Made]:
            return [made(store, record, data, target, self.settings) for record, data in chunk]

        records = (r for batch in plan.rows.to_batches(1024) for r in batch.to_pylist())
        pairs = zip(records, read_originals(store, plan.rows), strict=True)
        waiting: deque[Future[list[Made]]] = deque()
        # Originals that are kept are only hashed, which one thread does faster than several: these
        # would contend for the interpreter's lock.
        with ThreadPoolExecutor(self.threads) as making, ThreadPoolExecutor(1) as passing:
            for chunk in _chunks(pairs):
                known = all(passes(record, target, self.settings) for record, _ in chunk)
                waiting.append((passing if known else making).submit(make, chunk))
                if len(waiting) > AHEAD:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()


@dataclass(frozen=True)
class Made:
    """The result for one record of a plan.

    Attributes:
        record: The row of the plan.
        found: The stored picture, or why there is none.
        sha256: SHA-256 of the stored picture.
        loss: Encoding loss, as `Stored.loss`; zeros if it was not measured.
    """

    record: dict[str, Any]
    found: Stored | PixelError
    sha256: str = ""
    loss: tuple[int, int] = (0, 0)


def made(
    store: Store,
    record: dict[str, Any],
    data: bytes,
    target: tuple[int, int],
    settings: ShardSettings,
) -> Made:
    """Makes the stored picture of a record; for one in 64, the encoding loss is measured.

    Args:
        store: The corpus's store, for messages.
        record: A row of the plan.
        data: Its original file.
        target: Width and height of its bucket.
        settings: How pictures are stored.

    Raises:
        CorpusError: The file does not match the record's SHA-256.
    """
    check_original(data, record, store)
    try:
        found = stored(data, record, target, settings)
    except PixelError as error:
        return Made(record, error)
    # An original that is kept has just been hashed by `check_original`.
    same = found.data is data
    sha256 = record["sha256"] if same else hashlib.sha256(found.data).hexdigest()
    measured = int(record["id"][-2:], 16) % MEASURED == 0
    return Made(record, replace(found, pixels=None), sha256, found.loss() if measured else (0, 0))


def _chunks(
    pairs: Iterator[tuple[dict[str, Any], bytes]],
) -> Iterator[list[tuple[dict[str, Any], bytes]]]:
    """Groups records and their files into chunks, to reduce the overhead of threads."""
    held: list[tuple[dict[str, Any], bytes]] = []
    size = 0
    for record, data in pairs:
        held.append((record, data))
        size += len(data)
        if size >= CHUNK:
            yield held
            held, size = [], 0
    if held:
        yield held


def read_plan(folder: SetFolder, number: int) -> PlannedTar:
    """Reads the plan of a tar. Raises FileNotFoundError."""
    name = folder.name(plan_name(number))
    content = read_whole(folder.store, name)
    with reading(folder.store, name):
        return decode_plan(number, content)


def read_note(folder: SetFolder, number: int) -> dict[str, Any] | None:
    """Reads the note about a written tar (its manifest row, left-out records); None if missing."""
    try:
        return read_json(folder.store, folder.name(note_name(number)))
    except FileNotFoundError:
        return None

"""Verifies one tar of a training set, with the files beside it: a task of the runner.

The result is written down immediately, so that an interrupted command continues with the rest.
"""

import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.blocked import read_blocked
from nucleus_data.corpus.damaged import DamagedError, read_json, read_whole
from nucleus_data.corpus.store import Store, with_retries
from nucleus_data.errors import CorpusError
from nucleus_data.printed import counted
from nucleus_data.runner.stored import read_columns
from nucleus_data.runner.work import Summary
from nucleus_data.sets.beside import Beside, encode, read
from nucleus_data.sets.editions import EDITION_SCHEMA
from nucleus_data.sets.index import INDEX_SCHEMA, index_name
from nucleus_data.sets.layout import SetFolder, TarEntry
from nucleus_data.sets.provenance import LICENCE, URL
from nucleus_data.stages.upkeep.encoded_check import check_latents
from nucleus_data.stages.upkeep.faults import Fault, as_faults
from nucleus_data.stages.upkeep.tar_check import check_tar, compared, walked

EVALUATION = "evaluation.parquet"
MEASURED = "inspect.file"


@dataclass(frozen=True)
class VerifyTask:
    """Verifies one tar of a set.

    Attributes:
        uri: URI of the corpus, or of the set itself if it is not in a corpus.
        storage_options: Options for fsspec.
        path: Folder of the set, relative to `uri`; empty for a set that is not in a corpus.
        notes: Folder for the results, relative to `uri`.
        tables: Table -> config hash, of the tables with which JSON is compared.
        decode: Whether to decode the pictures.
    """

    uri: str
    storage_options: Mapping[str, Any]
    path: str
    notes: str
    tables: Mapping[str, str]
    decode: bool = True

    def run(self, number: int) -> Summary:
        """Verifies the tar with this number in the manifest, unless its result exists."""
        store = Store(self.uri, self.storage_options)
        folder = SetFolder(store, self.path)
        entry = folder.manifest()[number]
        summary = Summary(rows=entry.samples, done=entry.samples, bytes=entry.bytes)
        name = f"{self.notes}/{number:06d}.json"
        if not store.exists(name):
            faults, counts = self._verify(folder, entry)
            found = {"faults": [fault.content() for fault in faults], "counts": dict(counts)}
            store.create(name, json.dumps(found, sort_keys=True).encode())
        note = read_json(store, name)
        summary.extra.update(note["counts"])
        summary.failed.update(fault.kind for fault in as_faults(note["faults"]))
        return summary

    def _verify(self, folder: SetFolder, entry: TarEntry) -> tuple[list[Fault], Counter[str]]:
        counts: Counter[str] = Counter()
        faults, index = check_index(folder, entry)
        if index is None:
            return faults, counts
        if len(index) != entry.samples:
            found = (
                f"the index has {counted(len(index), 'sample')}, the manifest says "
                f"{entry.samples:,}"
            )
            faults.append(Fault("count", entry.path, "", found))
        faults += self._tar(folder, entry, index)
        every = [("captions", one) for one in folder.editions()]
        for kind, one in [*every, *(("columns", one) for one in folder.all_columns())]:
            faults += check_beside(folder, kind, one, entry, index, counts)
        lost = [fault.sample for fault in faults if fault.kind == "picture_undecodable"]
        faults += check_latents(folder, entry, index, lost)
        return sorted(set(faults)), counts

    def _tar(self, folder: SetFolder, entry: TarEntry, index: pa.Table) -> list[Fault]:
        store, name = folder.store, folder.name(entry.path)
        try:
            file = with_retries(lambda: store.fs.open(store.path(name), "rb"))
        except FileNotFoundError:
            return [Fault("tar_missing", entry.path, "", "it is in the manifest")]
        with file:
            found = check_tar(file, entry, index, decode=self.decode)
            faults = found.faults
            if [fault.kind for fault in faults] == ["tar_changed"] and self.path:
                # Done only in this case, since a tar's records are spread over the whole corpus.
                changed = list(compared(index, self._record(), file))
                faults = [Fault("json_changed", entry.path, *one) for one in changed] or faults
        return faults + list(self._unwanted(folder.store, entry, found.originals))

    def _record(self) -> Any:
        """Returns a function that reads a record's values from the corpus, by shard and row."""
        corpus = Corpus(self.uri, self.storage_options)

        def one(shard: int, row: int) -> dict[str, Any] | None:
            names = ("id", "key", "source", "sha256", *URL, *LICENCE)
            paths = [f"records:{name}" for name in names]
            sized = MEASURED in self.tables
            paths += [f"{MEASURED}:{name}" for name in ("width", "height") if sized]
            wanted = pa.array([row], pa.int32()).to_numpy()
            found = read_columns(lambda t: corpus.at(t, self.tables[t]), shard, paths, wanted)
            values = {name: found[name].to_pylist()[0] for name in paths}
            known = {name: values[f"records:{name}"] for name in names[:4]}
            for name, columns in (("url", URL), ("licence", LICENCE)):
                candidates = (values[f"records:{column}"] for column in columns)
                known[name] = next((v for v in candidates if v is not None), None)
            if sized and values[f"{MEASURED}:width"] is not None:
                known |= {f"original_{n}": values[f"{MEASURED}:{n}"] for n in ("width", "height")}
            return known

        return one

    def _unwanted(
        self, store: Store, entry: TarEntry, originals: Mapping[str, str | None]
    ) -> Iterator[Fault]:
        """Yields faults for samples that are in an evaluation set, blocked or taken down."""
        blocked = read_blocked(store) if self.path else None
        for ident, digest in originals.items():
            refusal = blocked and (blocked.of_id(ident) or blocked.of_sha256(digest or ""))
            if refusal:
                yield Fault("blocked", entry.path, ident, refusal.detail)
        try:
            listed = read(store, f"{self.notes}/{EVALUATION}")
        except FileNotFoundError:
            return
        of = dict(zip(listed["value"].to_pylist(), listed["of"].to_pylist(), strict=True))
        for ident, digest in originals.items():
            if found := of.get(ident) or of.get(digest):
                yield Fault("evaluation", entry.path, ident, f"it is in {found}")


def check_index(folder: SetFolder, entry: TarEntry) -> tuple[list[Fault], pa.Table | None]:
    """Checks an index; returns its faults, and the correct index.

    A damaged index is computed again from the tar, to find the samples with wrong rows. If that is
    not possible, the returned index is None.
    """
    import hashlib

    store, name = folder.store, folder.name(index_name(entry.path))
    file = index_name(entry.path)
    try:
        data = read_whole(store, name)
        if hashlib.sha256(data).hexdigest() == entry.index_sha256:
            return [], folder.index(entry.path)
        found = "its SHA-256 differs from that in the manifest"
        try:
            there = folder.index(entry.path).to_pylist()
        except DamagedError as error:
            there, found = [], error.found
    except FileNotFoundError:
        there, found = [], "it is missing"
    try:
        tar = read_whole(store, folder.name(entry.path))
        right = list(walked(io.BytesIO(tar), INDEX_SCHEMA.empty_table()))
    except (FileNotFoundError, ValueError, KeyError, CorpusError):
        return [Fault("index_changed", file, "", found)], None
    except Exception as error:  # raised by tarfile, as the tar is damaged as well
        return [Fault("index_changed", file, "", f"{found}; the tar: {error}")], None
    faults = [
        Fault("index_changed", file, row["id"], "its row differs from the tar's")
        for row, one in zip(right, [*there, *[None] * len(right)], strict=False)
        if one is None or any(one[key] != value for key, value in row.items())
    ]
    table = pa.Table.from_pylist(right, INDEX_SCHEMA)
    return faults or [Fault("index_changed", file, "", found)], table


def check_beside(
    folder: SetFolder,
    kind: str,
    one: Beside,
    entry: TarEntry,
    index: pa.Table,
    counts: Counter[str],
) -> Iterator[Fault]:
    """Yields the faults of the captions or columns beside a tar; adds their numbers to `counts`."""
    name = one.file(entry.path)
    file = name[len(folder.name("")) :]
    try:
        data = read_whole(folder.store, name)
        rows = read(folder.store, name, EDITION_SCHEMA if kind == "captions" else None)
    except FileNotFoundError:
        yield Fault(kind, file, "", f"it is missing: {len(index):,} samples have none")
        return
    except DamagedError as error:
        yield Fault(kind, file, "", f"{error.found} ({counted(len(index), 'sample')})")
        return
    if not as_written(data, rows):
        yield Fault(
            kind, file, "", f"it is not as it was written ({counted(len(index), 'sample')})"
        )
    if rows["id"].to_pylist() != index["id"].to_pylist():
        pairs = zip(index["id"].to_pylist(), [*rows["id"].to_pylist(), None], strict=False)
        first = next((a for a, b in pairs if a != b), "")
        yield Fault(kind, file, first, "from here on, the rows differ from those of the tar")
        return
    if kind == "captions":
        lengths, sources = (pc.list_value_length(rows[n]) for n in ("captions", "caption_sources"))
        for ident in rows["id"].filter(pc.not_equal(lengths, sources)).to_pylist():
            yield Fault(kind, file, ident, "its captions do not match caption_sources")
        counts[f"samples {one.hash}"] += rows.num_rows
        counts[f"captions {one.hash}"] += pc.sum(lengths).as_py() or 0
        counts[f"without {one.hash}"] += pc.sum(pc.equal(lengths, 0)).as_py() or 0
        for source in pc.list_flatten(rows["caption_sources"]).value_counts().to_pylist():
            counts[f"mix {source['values']} {one.hash}"] += source["counts"]


def as_written(data: bytes, rows: pa.Table) -> bool:
    """Returns whether a file equals its rows encoded again.

    Files that another version of the Parquet library wrote are not compared.
    """
    encoded = encode(rows)
    by = [pq.read_metadata(pa.BufferReader(one)).created_by for one in (data, encoded)]
    return data == encoded or by[0] != by[1]

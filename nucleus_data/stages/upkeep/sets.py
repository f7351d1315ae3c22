"""Takes samples out of training sets: out of tars, and out of the files beside them.

A tar is not changed in place. A new one is written beside it, with its index, captions and columns;
then the manifest is replaced atomically, and the old files are removed. So readers of the manifest
see either all of the old files or all of the new ones.

    takedowns/<name>/sets/<set>-<hash>/before.json   the set before the takedown, written first
    takedowns/<name>/sets/<set>-<hash>/000012.json   notes that tar 12 has been rewritten
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.blocked import TAKEN_DOWN
from nucleus_data.corpus.damaged import read_json
from nucleus_data.corpus.store import Store, with_retries
from nucleus_data.runner.work import Summary
from nucleus_data.sets.beside import Beside, encode, read
from nucleus_data.sets.editions import CAPTIONS, Edition
from nucleus_data.sets.index import index_name
from nucleus_data.sets.layout import COLUMNS, LEFT_OUT, LEFT_OUT_SCHEMA, MANIFEST, SetFolder
from nucleus_data.sets.planned import NOTES, PLANS
from nucleus_data.sets.tars import BLOCK, TarWriter
from nucleus_data.stages.upkeep.encoded import (
    latents_of,
    texts_of,
    unfinished_texts,
    write_latents,
)
from nucleus_data.stages.upkeep.notes import BEFORE, note_folder, notes_of
from nucleus_data.stages.upkeep.plan import TakedownPlan
from nucleus_data.stages.upkeep.tasks import TarTask, placed

CARD = ("README.md", "croissant.json")
THREADS = 16
_NUMBER = re.compile(r"(.*?)(?:-(\d+))?\.tar")
_COUNTED = ("samples", "captions", "without")


class SetTask(TarTask):
    """Rewrites one tar of a set, if it has any of the records (a task of the runner)."""

    def run(self, number: int) -> Summary:
        """Rewrites the tar; `number` counts the tars of all sets."""
        done = take_from_tar(*self.opened_set(number))
        return Summary(rows=1, done=1, extra=Counter(set_tars=done))


@dataclass(frozen=True)
class CountTask:
    """Counts the samples of one tar that would be removed (a task of the runner).

    Attributes:
        uri: URI of the corpus.
        storage_options: Options for fsspec.
        ids: Ids of the records.
        sets: As in `TarTask`.
    """

    uri: str
    storage_options: Mapping[str, Any]
    ids: tuple[str, ...]
    sets: tuple[tuple[str, int], ...]

    def run(self, number: int) -> Summary:
        """Reads the tar's index; `number` counts the tars of all sets."""
        path, number = placed(self.sets, number)
        folder = SetFolder(Corpus(self.uri, self.storage_options).store, path)
        tar = folder.manifest()[number]
        index = folder.index(tar.path)
        gone = pc.sum(pc.is_in(index["id"], pa.array(self.ids, pa.string()))).as_py() or 0
        found = Counter({f"samples {path}": gone, f"tars {path}": int(gone > 0)})
        found[f"{tar.resolution} {path}"] = gone
        return Summary(rows=1, done=1, extra=found)


def write_before(folder: SetFolder, plan: TakedownPlan) -> dict[str, Any]:
    """Notes a set's tars and editions before it changes; returns the note written first."""
    name = f"{note_folder(plan, folder)}/{BEFORE}"
    if not folder.store.exists(name):
        content = {
            "paths": [tar.path for tar in folder.manifest()],
            "editions": {one.hash: dict(one.about) for one in folder.editions()},
        }
        folder.store.create(name, json.dumps(content, sort_keys=True).encode())
    return read_json(folder.store, name)


def take_from_tar(folder: SetFolder, plan: TakedownPlan, number: int) -> int:
    """Rewrites a tar, its index, captions and columns without the records of a takedown.

    Args:
        folder: The set.
        plan: The takedown.
        number: Number of the tar in the set before the takedown.

    Returns:
        1; 0 if the tar has none of the records, or has already been rewritten.
    """
    store, place = folder.store, note_folder(plan, folder)
    note = f"{place}/{number:06d}.json"
    if store.exists(note):
        return 0
    path = write_before(folder, plan)["paths"][number]
    entry = next(tar for tar in folder.manifest() if tar.path == path)
    index = folder.index(path)
    gone = pc.is_in(index["id"], pa.array(plan.ids(), pa.string()))
    if not pc.any(gone).as_py():
        return 0
    kept, new = index.filter(pc.invert(gone)), next_path(path)
    written: dict[str, Any] = {}

    def write(file: Path) -> None:
        with with_retries(lambda: store.fs.open(store.path(folder.name(path)), "rb")) as tar:
            written.update(_copy(tar, kept, file))

    store.create_with(folder.name(new), write)
    ids = index.filter(gone)["id"].to_pylist()
    write_latents(folder, path, new, ids)
    data = encode(written.pop("index"))
    store.create(folder.name(index_name(new)), data)
    row = {**asdict(entry), "path": new, "samples": len(kept), **written}
    row["index_sha256"] = hashlib.sha256(data).hexdigest()
    content = {
        "old": path,
        "new": new if len(kept) else None,
        "row": row,
        "ids": ids,
        "editions": {one.hash: _beside(one, path, new, gone) for one in every_beside(folder)},
        "texts": _lost_texts(folder, path, gone),
    }
    store.create(note, json.dumps(content, sort_keys=True).encode())
    return 1


def next_path(path: str) -> str:
    """Returns the path of the tar that replaces another one: `000012-1.tar` for `000012.tar`."""
    match = _NUMBER.fullmatch(path)
    assert match is not None
    return f"{match[1]}-{int(match[2] or 0) + 1}.tar"


def every_beside(folder: SetFolder) -> list[Beside]:
    """Returns all editions and columns of a set, published or being written."""
    store = folder.store
    return [
        *(folder.new_edition(hashed) for hashed in store.list(folder.name(CAPTIONS))),
        *(folder.new_columns(hashed) for hashed in store.list(folder.name(COLUMNS))),
    ]


def _copy(tar: IO[bytes], kept: pa.Table, file: Path) -> dict[str, Any]:
    """Writes the remaining samples in the form of `shard`.

    Returns:
        The new index, and the tar's `bytes` and `sha256` for the manifest.
    """
    rows = []
    with TarWriter(file) as target:
        for row in kept.to_pylist():
            for offset, size in (("offset", "size"), ("json_offset", "json_size")):
                tar.seek(row[offset] - BLOCK)
                head = tar.read(BLOCK)
                name = head[:100].rstrip(b"\0").decode("ascii")
                row[offset] = target.add(name, tar.read(row[size]))
            rows.append(row)
    index = pa.Table.from_pylist(rows, kept.schema)
    return {"index": index, "bytes": target.size, "sha256": target.sha256}


def _beside(one: Beside, path: str, new: str, gone: pa.ChunkedArray) -> dict[str, Any]:
    """Writes captions or columns without some rows; returns the counts of the removed ones."""
    try:
        rows = one.captions(path) if isinstance(one, Edition) else read(one.store, one.file(path))
    except FileNotFoundError:  # an edition that is being written
        return {}
    one.write(new, rows.filter(pc.invert(gone)))
    lost, counts = rows.filter(gone), Counter(samples=0)
    if "captions" in lost.column_names:
        lengths = pc.list_value_length(lost["captions"])
        counts["samples"] += lost.num_rows
        counts["captions"] += pc.sum(lengths).as_py() or 0
        counts["without"] += pc.sum(pc.equal(lengths, 0)).as_py() or 0
        for source in pc.list_flatten(lost["caption_sources"]).to_pylist():
            counts[f"mix {source}"] += 1
    return dict(counts)


def _lost_texts(folder: SetFolder, path: str, gone: pa.ChunkedArray) -> dict[str, list[str]]:
    """Returns edition -> hashes of the texts of the removed samples."""
    return {
        edition.hash: texts_of(edition.captions(path).filter(gone)) for edition in folder.editions()
    }


def publish_without(folder: SetFolder, plan: TakedownPlan) -> None:
    """Publishes the new tars in the manifest, once all are written, and removes the old files."""
    notes = list(notes_of(folder, plan))
    if not notes:
        return
    store, before = folder.store, write_before(folder, plan)
    new = {note["old"]: note["row"] if note["new"] else None for note in notes}
    table = read(store, folder.name(MANIFEST))  # including the metadata about all pictures
    rows = [new.get(row["path"], row) for row in table.to_pylist()]
    rows = [row for row in rows if row is not None]
    store.put(folder.name(MANIFEST), encode(pa.Table.from_pylist(rows, table.schema)))
    for hashed, about in before["editions"].items():
        edition = folder.new_edition(hashed)
        less = _less(about, notes, hashed)
        content = json.dumps(less, sort_keys=True, ensure_ascii=False, indent=1)
        store.put(f"{edition.path}/{edition.marker}", content.encode())
    _leave_out(folder, notes)
    remove_all(store, stale(folder, notes))


def _less(about: dict[str, Any], notes: list[dict[str, Any]], hashed: str) -> dict[str, Any]:
    """Returns an edition's marker with counts that exclude the removed samples."""
    lost: Counter[str] = Counter()
    for note in notes:
        lost.update(note["editions"].get(hashed, {}))
    mix = {n: c - lost[f"mix {n}"] for n, c in about.get("mix", {}).items()}
    counts = {name: about[name] - lost[name] for name in _COUNTED if name in about}
    return {**about, **counts, "mix": {name: count for name, count in mix.items() if count}}


def _leave_out(folder: SetFolder, notes: list[dict[str, Any]]) -> None:
    """Adds the removed samples, with the reason, to `left_out.parquet`."""
    table = folder.left_out()
    known = set(zip(table["id"].to_pylist(), table["resolution"].to_pylist(), strict=True))
    lost = {(ident, n["row"]["resolution"]) for n in notes for ident in n["ids"]} - known
    rows = [{"id": i, "resolution": r, "reason": TAKEN_DOWN} for i, r in sorted(lost)]
    if rows:
        more = pa.Table.from_pylist(rows, LEFT_OUT_SCHEMA)
        folder.store.put(folder.name(LEFT_OUT), encode(pa.concat_tables([table, more])))


def is_planned(folder: SetFolder, plan: TakedownPlan) -> bool:
    """Returns whether an incomplete set contains, or is planned to contain, any of the records."""
    ids, store = pa.array(plan.ids(), pa.string()), folder.store
    for name in store.find(folder.name(PLANS)):
        if name.endswith(".parquet"):
            rows = read(store, name)
            if "id" in rows.column_names and pc.any(pc.is_in(rows["id"], ids)).as_py():
                return True
    return False


def stale(folder: SetFolder, notes: list[dict[str, Any]]) -> Iterator[str]:
    """Yields the files that are unused once the manifest names the new tars."""
    store = folder.store
    others = every_beside(folder)
    for note in notes:
        paths = [note["old"], *([note["row"]["path"]] if note["new"] is None else [])]
        for path in paths:
            yield from (folder.name(path), folder.name(index_name(path)))
            yield from (one.file(path) for one in others)
            yield from latents_of(folder, path)
    yield from unfinished_texts(folder)
    # The card counts samples, and lists tars with their SHA-256; `shard` writes it again.
    yield from (folder.name(name) for name in CARD)
    # The plans of the set contain URLs, and are not needed once the set is published.
    for kind in (PLANS, NOTES):
        yield from store.find(folder.name(kind))


def remove_all(store: Store, names: Iterable[str]) -> int:
    """Removes files concurrently; returns their number."""
    with ThreadPoolExecutor(THREADS) as pool:
        return len(list(pool.map(store.remove, names)))

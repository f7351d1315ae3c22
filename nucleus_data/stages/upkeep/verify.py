"""`nucleus verify`: checks every sample of a training set.

    faults = verify(run, folder, {}, None)       # [] if the set is correct

Each tar, with the files beside it, is a task (`verify_task`). Then duplicate ids are searched, text
states are checked, and sums are compared. Intermediate results are stored in `verify/`, so that an
interrupted command continues. They are removed at the end; the result is in the run's folder.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.damaged import DamagedError, read_whole
from nucleus_data.corpus.store import Store
from nucleus_data.corpus.tables import parts_sql
from nucleus_data.errors import CorpusError, RequestError
from nucleus_data.hashing import config_hash
from nucleus_data.runner.run import Run
from nucleus_data.runner.work import Item, Summary
from nucleus_data.sets.beside import encode, read
from nucleus_data.sets.encoded import encodings
from nucleus_data.sets.layout import LEFT_OUT, MANIFEST, SetFolder
from nucleus_data.stage import Stage
from nucleus_data.stages.dedup.stage import TABLE as PAIRS
from nucleus_data.stages.upkeep.caption_keys import CaptionKeysTask, groups_of
from nucleus_data.stages.upkeep.encoded_check import TextsTask, check_markers, right_encodings
from nucleus_data.stages.upkeep.faults import Fault, as_faults
from nucleus_data.stages.upkeep.sets import remove_all
from nucleus_data.stages.upkeep.takedown import NoSettings
from nucleus_data.stages.upkeep.verify_task import EVALUATION, VerifyTask, as_written

ROOT = "verify"
# Maximum number of ids in a task's memory, 64 bytes each.
AT_ONCE = 10_000_000


class Verify(Stage[NoSettings]):
    """Identifies the work in a run; not a stage of the recipe."""

    name: ClassVar[str] = "verify"
    help: ClassVar[str] = "Verify a training set."
    Settings = NoSettings


UPKEEP = Verify(NoSettings())


@dataclass(frozen=True)
class DuplicateTask:
    """Finds duplicate ids in a resolution, among a share of all ids (a task of the runner).

    Attributes:
        uri, storage_options, path: As in `VerifyTask`.
        notes: Folder for the results.
        shares: Number of shares.
    """

    uri: str
    storage_options: Mapping[str, Any]
    path: str
    notes: str
    shares: int

    def run(self, number: int) -> Summary:
        """Writes the duplicate samples of share `number`."""
        store = Store(self.uri, self.storage_options)
        folder = SetFolder(store, self.path)
        name = f"{self.notes}/twice-{number:06d}.json"
        if not store.exists(name):
            found = [fault.content() for fault in self._twice(folder, number)]
            store.create(name, json.dumps(found, sort_keys=True).encode())
        return Summary(rows=1, done=1)

    def _twice(self, folder: SetFolder, number: int) -> Iterator[Fault]:
        left_out = {place for place in _left_out(folder) if self._mine(place[0], number)}
        seen: dict[int, set[str]] = {}
        for entry in folder.manifest():
            try:
                ids = folder.index(entry.path)["id"].to_pylist()
            except (FileNotFoundError, DamagedError):  # the tar's own task reports it
                continue
            known = seen.setdefault(entry.resolution, set())
            for ident in ids:
                if not self._mine(ident, number):
                    continue
                if ident in known:
                    yield Fault("duplicate", entry.path, ident, "it is also in another tar")
                if (ident, entry.resolution) in left_out:
                    yield Fault("left_out", entry.path, ident, "it is also in left_out.parquet")
                known.add(ident)

    def _mine(self, ident: str, number: int) -> bool:
        return int(ident[-8:], 16) % self.shares == number


def _left_out(folder: SetFolder) -> Iterator[tuple[str, int]]:
    try:
        table = folder.left_out()
    except (FileNotFoundError, DamagedError):  # `_tables` reports it
        return
    for batch in table.to_batches():
        columns = (batch.column(name).to_pylist() for name in ("id", "resolution"))
        yield from zip(*columns, strict=True)


def find_set(run: Run, name: str | None) -> SetFolder:
    """Finds a set by its name.

    Args:
        run: The run.
        name: `NAME`, `NAME/HASH` (a prefix of the hash suffices), or the folder of a set that is
            not in a corpus; None for the only set of the corpus.

    Raises:
        RequestError: No set, or several sets, match.
    """
    from nucleus_data.sets.layout import published_sets

    given = (name or "").removeprefix("sets/").strip("/")
    sets = list(published_sets(run.corpus.store))
    words = [folder.path.removeprefix("sets/") for folder in sets]
    asked, _, digits = given.partition("/")
    fits = []
    for folder, word in zip(sets, words, strict=True):
        its, _, hashed = word.partition("/")
        if not given or (its == asked and hashed.startswith(digits)):
            fits.append(folder)
    if len(fits) == 1:
        return fits[0]
    if not fits and name and Store(name).exists(MANIFEST):
        return SetFolder(Store(name, run.corpus.store.storage_options))
    known = ", ".join(words) or "none"
    what = "several sets" if fits else "no set"
    raise RequestError(f"{run.corpus.uri} has {what} {name or ''}; available: {known}")


def verify(
    run: Run,
    folder: SetFolder,
    against: Mapping[str, str],
    pairs: str | None,
    *,
    decode: bool = True,
) -> list[Fault]:
    """Returns all faults of a set, sorted.

    Args:
        run: The run.
        folder: The set.
        against: Evaluation sets: name -> URI of another corpus (`dedup.against`).
        pairs: Config hash of the pairs that `dedup` found with these; None without them.
        decode: Whether to decode the pictures.

    Raises:
        CorpusError: Some tars could not be read now; repeating the command continues with them.
    """
    try:
        entries = folder.manifest()
    except CorpusError as error:
        return [Fault("manifest", MANIFEST, "", str(error))]
    notes = notes_of(folder, decode=decode)
    folder.store.sweep(notes)
    _write_evaluation(run.corpus, folder.store, notes, against, pairs)
    place = (folder.store.uri, folder.store.storage_options, folder.path, notes)
    task = VerifyTask(*place, dict(run.tables), decode)
    items = [Item(number) for number in range(len(entries))]
    report = run.loop(UPKEEP, task, items, len(items), keep=False)
    shares = 1 + sum(entry.samples for entry in entries) // AT_ONCE
    todo = [Item(number) for number in range(shares)]
    twice = run.loop(UPKEEP, DuplicateTask(*place, shares), todo, shares, phase="ids", keep=False)
    states = tuple((e.hash, about["parts"]) for e, about in right_encodings(folder, texts=True))
    groups = groups_of(folder) if states else 0
    todo = [Item(number) for number in range(groups)]
    keys = CaptionKeysTask(*place, states)
    dealt = run.loop(UPKEEP, keys, todo, groups, phase="captions", keep=False)
    done = [report, twice, dealt]
    if not dealt.failed:
        todo = [Item(number) for number in range(sum(count for _, count in states))]
        texts = TextsTask(*place, states, groups)
        done.append(run.loop(UPKEEP, texts, todo, len(todo), phase="text states", keep=False))
    for one in done:
        if one.failed:
            run.keep(one)
            raise CorpusError("verify: not all tars could be read; run the same command again")
    faults = [*_noted(folder.store, notes), *_sums(folder, report.summary.extra)]
    faults += [*_tables(folder), *check_markers(folder)]
    # The notes are not needed any more, as the next `verify` reads everything again.
    remove_all(folder.store, (f"{notes}/{name}" for name in folder.store.list(notes)))
    if folder.store.local:
        folder.store.sweep(notes)
        with contextlib.suppress(OSError):  # another machine may be verifying the set as well
            Path(folder.store.path(notes)).rmdir()
    return sorted(set(faults))


def notes_of(folder: SetFolder, *, decode: bool) -> str:
    """Returns the folder of the intermediate results for the current state of a set."""
    manifest = hashlib.sha256(read_whole(folder.store, folder.name(MANIFEST))).hexdigest()
    beside = [one.hash for one in (*folder.editions(), *folder.all_columns())]
    beside += [one.hash for one in encodings(folder.store, folder.path)]
    identity = {"set": folder.path, "manifest": manifest, "beside": beside, "decode": decode}
    root = ROOT if folder.path else "_verify"
    return f"{root}/{config_hash(identity)}"


def _noted(store: Store, notes: str) -> Iterator[Fault]:
    for name in store.list(notes):
        if name.endswith(".json"):
            content = json.loads(read_whole(store, f"{notes}/{name}"))
            yield from as_faults(content if isinstance(content, list) else content["faults"])


def _tables(folder: SetFolder) -> Iterator[Fault]:
    """Yields the faults of the set's own tables."""
    name = folder.name(MANIFEST)
    if not as_written(read_whole(folder.store, name), read(folder.store, name)):
        yield Fault("manifest", MANIFEST, "", "it is not as it was written")
    try:
        folder.left_out()  # reading verifies the checksums of its pages
    except (FileNotFoundError, CorpusError) as error:
        yield Fault("left_out", LEFT_OUT, "", str(error))


def _sums(folder: SetFolder, counts: Mapping[str, int]) -> Iterator[Fault]:
    """Yields faults of editions whose counts differ from those of their files."""
    for one in folder.editions():
        path = f"captions/{one.hash}/{one.marker}"
        try:
            about = dict(one.about)
            stated = {name: about[name] for name in ("samples", "captions", "without")}
            stated |= {f"mix {name}": count for name, count in about["mix"].items()}
        except (CorpusError, KeyError, AttributeError) as error:
            yield Fault("captions", path, "", str(error))
            continue
        for name in {
            *stated,
            *(n.removesuffix(f" {one.hash}") for n in counts if n.endswith(one.hash)),
        }:
            found = counts.get(f"{name} {one.hash}", 0)
            if stated.get(name, 0) != found:
                detail = f"it states {stated.get(name, 0)} {name}, but there are {found}"
                yield Fault("captions", path, "", detail)
    for columns in folder.all_columns():
        try:
            _ = columns.tables, columns.names
        except (CorpusError, KeyError, TypeError, ValueError) as error:
            yield Fault("columns", f"columns/{columns.hash}/{columns.marker}", "", str(error))


def _write_evaluation(
    corpus: Corpus, store: Store, notes: str, against: Mapping[str, str], pairs: str | None
) -> None:
    """Writes the files of evaluation sets, and the near duplicates of these, for `VerifyTask`."""
    values: dict[str, str] = {}
    for name, uri in sorted(against.items()):
        other = Corpus(uri, corpus.store.storage_options)
        source = parts_sql(other.store, other.records.folder)
        rows = other.connection().sql(f"SELECT sha256 FROM {source} WHERE sha256 IS NOT NULL")
        values |= dict.fromkeys((digest for (digest,) in rows.fetchall()), name)
    if pairs is not None and (table := corpus.at(PAIRS, pairs)).part_names():
        rows = corpus.connection().sql(
            f"SELECT id, other_id FROM {table.sql()} "
            "WHERE other_shard IS NULL AND distance IS NOT NULL"  # members of crowds are no pairs
        )
        values |= {ident: other.partition(":")[0] for ident, other in rows.fetchall()}
    if values:
        known = pa.table({"value": sorted(values), "of": [values[v] for v in sorted(values)]})
        store.create(f"{notes}/{EVALUATION}", encode(known))

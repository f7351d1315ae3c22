"""`nucleus gc`: lists folders that no run and no set uses, and removes them on request.

    found = garbage(run, counted, encoders)
    remove(run.corpus.store, found)

A folder is used if it belongs to the current configuration, if a counted run pinned it in its
plan.json, or if editions or columns of a used set were made from it. `records`, images and claims
are never removed. Encoded values are used by configurations with the same encoders, resolution,
precision and captions.
"""

import datetime
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nucleus_data.corpus import Corpus, renewed
from nucleus_data.corpus.damaged import DamagedError
from nucleus_data.corpus.published import MARKER
from nucleus_data.corpus.runs import plans, run_names
from nucleus_data.corpus.store import Store, with_retries
from nucleus_data.corpus.tables import plain
from nucleus_data.errors import CorpusError, OlderLayoutError, RequestError
from nucleus_data.printed import counted
from nucleus_data.runner.run import Run
from nucleus_data.sets.columns import ABOUT as COLUMNS_MARKER
from nucleus_data.sets.editions import EDITION
from nucleus_data.sets.encoded import ENCODED, TEXTS, encodings
from nucleus_data.sets.encoded import MARKER as ENCODED_MARKER
from nucleus_data.sets.layout import MANIFEST, SetFolder, all_sets
from nucleus_data.stages.upkeep.sets import remove_all

# Runs that began within this time may still be working.
RECENT = datetime.timedelta(days=1)
ALWAYS = "records"
MARKERS = (MANIFEST, MARKER, EDITION, COLUMNS_MARKER, ENCODED_MARKER, f"{TEXTS}/{ENCODED_MARKER}")


@dataclass(frozen=True)
class Counted:
    """Selects the runs whose pins count as used.

    Attributes:
        named: Names of the runs; empty for all.
        newest: Restricts them to this number of the newest; None for no restriction.
    """

    named: tuple[str, ...] = ()
    newest: int | None = None


@dataclass(frozen=True, order=True)
class Garbage:
    """An unused folder.

    Attributes:
        path: Path relative to the corpus.
        why: Reason, for people.
        files: Number of files.
        bytes: Total size of the files in bytes.
    """

    path: str
    why: str
    files: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Encoders:
    """Determines which encoded values are used.

    Attributes:
        now: The current configuration, in the form of `plan.json`.
        reads: Returns whether a run with a configuration uses the values with a marker's content.
    """

    now: Mapping[str, Any]
    reads: Callable[[Mapping[str, Any], Mapping[str, Any]], bool]


@dataclass(frozen=True)
class Used:
    """Everything that counts as used.

    Attributes:
        tables: Names and config hashes of tables.
        folders: Sets, and the editions and columns in them.
        configs: Set -> configurations of the counted runs that pinned it.
        recent: Sets of runs of the last day.
    """

    tables: frozenset[tuple[str, str]]
    folders: frozenset[str]
    configs: Mapping[str, list[Mapping[str, Any]]]
    recent: frozenset[str]


def garbage(run: Run, counted: Counted, encoders: Encoders | None = None) -> list[Garbage]:
    """Returns the unused folders, sorted by path.

    Args:
        run: The run.
        counted: Selects the runs whose pins count as used.
        encoders: Determines which encoded values are used; None to keep all values of used sets.

    Raises:
        RequestError: A named run does not exist.
    """
    corpus = run.corpus
    used = _used(run, counted_runs(corpus.store, counted))
    found = [*_sets(corpus.store, used)]
    gone = {one.path for one in found}
    tables = set(used.tables)
    for folder in all_sets(corpus.store):
        if folder.path not in gone and folder.published:
            kept = [one for one in folder.editions() if one.path not in gone]
            tables |= set(_made_of(folder))
            found += _encoded(folder, {one.hash for one in kept}, used, encoders)
    found += _tables(corpus, tables)
    return sorted(_measured(corpus.store, one) for one in found)


def counted_runs(store: Store, counted: Counted) -> set[str]:
    """Returns the names of the selected runs, and of recent ones, which always count.

    Raises:
        RequestError: A named run does not exist.
    """
    known = run_names(store)
    if missing := [name for name in counted.named if name not in known]:
        raise RequestError(f"there is no run {missing[0]} in {store.url('runs')}")
    chosen = list(counted.named or known)
    if counted.newest is not None:
        chosen = sorted(chosen)[max(0, len(chosen) - counted.newest) :]
    since = _since()
    return {*chosen, *(name for name in known if name >= since)}


def _since() -> str:
    """Returns a lower bound of the names of recent runs, which begin with their time in UTC."""
    return (datetime.datetime.now(datetime.UTC) - RECENT).strftime("%Y%m%dT%H%M%S")


def _used(run: Run, counted: set[str]) -> Used:
    tables = {(plain(name), hashed) for name, hashed in run.tables.items()}
    folders: set[str] = set()
    configs: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    recent, since = set(), _since()
    for name, plan in plans(run.corpus.store):
        if name not in counted:
            continue
        pinned = plan.get("tables")
        if isinstance(pinned, dict):
            tables |= {(plain(str(n)), str(hashed)) for n, hashed in pinned.items()}
        folders |= set(_folders(plan))
        if isinstance(made := plan.get("set"), str):
            config = plan.get("config")
            configs[made].append(config if isinstance(config, dict) else {})
            recent |= {made} if name >= since else set()
    return Used(frozenset(tables), frozenset(folders), configs, frozenset(recent))


def _folders(plan: dict[str, Any]) -> Iterator[str]:
    """Yields the set, edition and columns that a run pinned."""
    if not isinstance(made := plan.get("set"), str):
        return
    yield made
    for kind, key in (("captions", "edition"), ("columns", "columns")):
        if isinstance(hashed := plan.get(key), str):
            yield f"{made}/{kind}/{hashed}"


def _sets(store: Store, used: Used) -> Iterator[Garbage]:
    for folder in all_sets(store):
        if folder.published:
            try:
                folder.manifest_table()
            except OlderLayoutError:
                yield Garbage(folder.path, "a set of an older layout, which nothing reads")
                continue
            except CorpusError:  # `verify` says what is wrong with it
                continue
        if folder.path not in used.folders:
            why = "" if folder.published else " and that is unfinished"
            yield Garbage(folder.path, f"a set that no counted run uses{why}")
            continue
        # If no run pinned an edition of the set, all editions are kept; the same for columns.
        for kind in ("captions", "columns"):
            paths = {f"{folder.path}/{kind}/{h}" for h in store.list(f"{folder.path}/{kind}")}
            if paths & used.folders:
                for path in sorted(paths - used.folders):
                    yield Garbage(path, f"{kind} of a set, which no counted run uses")


def _encoded(
    folder: SetFolder, editions: set[str], used: Used, encoders: Encoders | None
) -> Iterator[Garbage]:
    """Yields encoded values of a used set that belong to none of its editions, or to no run."""
    for one in encodings(folder.store, folder.path):
        what = "text states" if one.texts else "latents"
        path = folder.name(f"{ENCODED}/{one.hash}")
        try:
            about = one.about()
        except DamagedError:  # `verify` reports it
            continue
        if about is None:
            if folder.path not in used.recent:
                yield Garbage(path, f"unfinished {what}")
        elif one.texts and about.get("edition") not in editions:
            yield Garbage(path, f"{what} of captions that no longer exist")
        elif encoders is not None:
            configs = [encoders.now, *used.configs.get(folder.path, [])]
            if not any(encoders.reads(config, about) for config in configs):
                yield Garbage(path, f"{what} of encoders that no counted run uses")


def _made_of(folder: SetFolder) -> Iterator[tuple[str, str]]:
    """Yields the tables from which a set's editions and columns were made."""
    for edition in folder.editions():
        for name in edition.tables:
            variant, _, hashed = name.partition("@")
            if hashed:
                yield f"caption.{variant}", hashed
    for columns in folder.all_columns():
        yield from ((plain(name), hashed) for name, hashed in columns.tables.items())


def _tables(corpus: Corpus, used: set[tuple[str, str]]) -> Iterator[Garbage]:
    store = corpus.store
    for name in store.list("tables"):
        if name == ALWAYS or name.startswith(renewed.PREFIX):
            continue
        for hashed in store.list(f"tables/{name}"):
            path = f"tables/{name}/{hashed}"
            # An import can't be computed again. A table that a newer one follows is kept, as its
            # marker leads the configuration to the newer one.
            imported = name.startswith("caption.") and store.exists(f"{path}/{MARKER}")
            followed = store.exists(f"{path}/{renewed.MARKER}")
            if (name, hashed) not in used and not imported and not followed:
                yield Garbage(path, "a table that no counted run and no set uses")


def _measured(store: Store, one: Garbage) -> Garbage:
    files = with_retries(lambda: store.fs.find(store.path(one.path), detail=True))
    size = sum(int(entry.get("size") or 0) for entry in files.values())
    return Garbage(one.path, one.why, len(files), size)


def remove(store: Store, found: Iterable[Garbage]) -> None:
    """Removes folders; the markers of completeness are removed first."""
    for one in found:
        for marker in MARKERS:
            store.remove(f"{one.path}/{marker}")
        remove_all(store, store.find(one.path))
        if store.local:
            _remove_empty(Path(store.path(one.path)))


def _remove_empty(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            path.rmdir()
    if folder.is_dir():
        folder.rmdir()


def lines(found: list[Garbage], *, removed: bool) -> Iterator[str]:
    """Yields lines for people about unused folders; `removed` tells whether they were removed."""
    for one in found:
        yield f"{one.path}: {counted(one.files, 'file')}, {one.bytes:,} bytes; {one.why}"
    files, size = sum(one.files for one in found), sum(one.bytes for one in found)
    verb = "removed" if removed else "can be removed"
    yield f"gc: {counted(len(found), 'folder')}, {counted(files, 'file')}, {size:,} bytes {verb}"
    if found and not removed:
        yield "  nothing was removed; to remove them, add --remove"

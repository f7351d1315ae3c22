"""`nucleus export SET --as KIND`: exports a training set, with captions, to other data formats.

Each file is a function of the set, the edition and the columns, and is written atomically. Existing
files are not written again, so a stopped export is continued by the same command, and several
machines may work on one export. It is complete when `export.json` exists.
"""

import contextlib
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from nucleus_data.corpus.damaged import read_json
from nucleus_data.corpus.exported import corpus_of_set, note_export
from nucleus_data.corpus.store import Store
from nucleus_data.errors import CorpusError, DiskFullError, RequestError
from nucleus_data.printed import counted
from nucleus_data.sets.croissant import CROISSANT
from nucleus_data.sets.layout import TarEntry
from nucleus_data.views.export_files import Joining, name_of, write
from nucleus_data.views.export_readers import CARDED, write_readers

VERSION = 1
WHOLE, BEGUN, NOTES = "export.json", "_export.json", "_done"
WORKERS = 8
Say = Callable[[str], None]


class _EmptyError(Exception):
    """Raised to cancel the file of a tar of which no sample is exported."""


@dataclass(frozen=True)
class SetExport:
    """An export of a set.

    Attributes:
        joining: The set, its caption edition and columns.
        kind: One of `export_files.KINDS`.
        out: The target: a store whose root is the export's folder.
        resolutions: Resolutions to export; empty for all.
        workers: Number of files to make at once.
        failed: Messages about tars that could not be exported, sorted.
    """

    joining: Joining
    kind: str
    out: Store
    resolutions: Sequence[int] = ()
    workers: int = WORKERS
    failed: list[str] = field(default_factory=list)

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that determines the export's content; stored in `export.json`."""
        columns = self.joining.columns
        return {
            "version": VERSION,
            "as": self.kind,
            "set": self.joining.hash,
            "captions": self.joining.edition.hash,
            "columns": columns.hash if columns else None,
            "captioned": self.joining.captioned,
            "resolutions": sorted(self.resolutions),
        }

    def run(self, say: Say) -> bool:
        """Writes the missing files, and reports the content.

        Args:
            say: Receives lines for people.

        Returns:
            Whether all files could be made; see `failed`.

        Raises:
            RequestError: The target holds something else, or the set lacks a resolution.
        """
        entries = self._entries()
        whole = self._is_whole(entries)
        if whole:
            say("export: already complete")
        if lost := self._noted():
            say(lost)
        if whole:
            self._complete(say)
        else:
            self._write(entries)
            if self.failed:
                return False
            self._finish(entries, say)
        for line in self._said(read_json(self.out, WHOLE)):
            say(line)
        return True

    def _entries(self) -> list[TarEntry]:
        every = self.joining.folder.manifest()
        known = sorted({entry.resolution for entry in every})
        if unknown := [r for r in self.resolutions if r not in known]:
            raise RequestError(
                f"{self.joining.folder.url()} has no resolution {unknown[0]}; "
                f"available: {', '.join(map(str, known))}"
            )
        return [e for e in every if not self.resolutions or e.resolution in self.resolutions]

    def _noted(self) -> str | None:
        """Notes the export in the set's corpus; returns a warning if that is not possible."""
        folder = self.joining.folder
        corpus = corpus_of_set(folder.store, folder.path)
        if corpus is None:
            return "export: the set is not in a corpus, so no takedown will name this export"
        store, path = corpus
        about = {"as": self.kind, "set": path, "resolutions": sorted(self.resolutions)}
        return note_export(store, self.out.url("").rstrip("/"), about)

    def _is_whole(self, entries: Sequence[TarEntry]) -> bool:
        """Whether this export is complete. Raises RequestError if the target holds another one."""
        for name in (WHOLE, BEGUN):
            try:
                found = read_json(self.out, name)
            except FileNotFoundError:
                continue
            if (mine := found.get("identity")) != self.identity:
                odd = [k for k, v in self.identity.items() if not mine or mine.get(k) != v]
                raise RequestError(
                    f"{self.out.uri} holds another export (different: {', '.join(odd)}); "
                    "give another folder (--out), or remove this one"
                )
            made = {file["path"] for file in found.get("files", ())}
            if name == WHOLE and made != {name_of(self.kind, entry) for entry in entries}:
                raise RequestError(
                    f"{self.out.uri} holds the set as it was before a takedown; "
                    "remove the folder, and run the same command again"
                )
            return name == WHOLE
        if self.out.list(""):
            raise RequestError(
                f"{self.out.uri} is not empty, but holds no export; give another folder (--out)"
            )
        self.out.create(BEGUN, _encode({"identity": self.identity}))
        return False

    def _write(self, entries: Sequence[TarEntry]) -> None:
        """Makes all files; one that fails is added to `failed`, without stopping the others."""
        # Remove partial files of killed processes of this machine.
        for folder in {name_of(self.kind, e).rpartition("/")[0] for e in entries} | {NOTES, ""}:
            self.out.sweep(folder)
        # Machines that share an export start at random places, so that they rarely collide.
        first = random.randrange(max(1, len(entries)))
        waiting = [*entries[first:], *entries[:first]]
        bar = tqdm(total=len(entries), desc="export", unit=" files", delay=2, disable=None)
        pool = ThreadPoolExecutor(self.workers)
        try:
            futures = {pool.submit(self._one, entry): entry for entry in waiting}
            for future in as_completed(futures):
                bar.update()
                try:
                    future.result()
                except DiskFullError:
                    raise
                except (CorpusError, FileNotFoundError) as error:
                    self.failed.append(f"{futures[future].path}: {error}")
        finally:
            bar.close()
            pool.shutdown(cancel_futures=True)
        self.failed.sort()

    def _one(self, entry: TarEntry) -> None:
        if self._note(entry) is not None:
            return
        made: dict[str, Any] = {}
        name = name_of(self.kind, entry)

        def write_file(file: Path) -> None:
            try:
                made.update(write(self.kind, self.joining, entry, file))
            except FileNotFoundError as error:  # what is written to was made before
                raise CorpusError(
                    f"{error.filename or entry.path} is missing; restore a copy, or remake the "
                    "set with nucleus shard"
                ) from error
            if made["samples"] + made["left_out"] != entry.samples:
                raise CorpusError(
                    f"the index has {made['samples'] + made['left_out']} samples, but the manifest "
                    f"says {entry.samples}; run: nucleus verify"
                )
            if not made["samples"]:
                raise _EmptyError

        try:
            new = self.out.create_with(name, write_file)
        except _EmptyError:
            new, made["bytes"] = True, 0
        if not new and self.out.size(name) != made["bytes"]:
            raise CorpusError(
                f"{self.out.url(name)} already exists with other content; remove it and run the "
                "same command again"
            )
        about = {"path": name, "resolution": entry.resolution, "aspect": entry.aspect}
        size = {"width": entry.width, "height": entry.height}
        self.out.create(_note_name(entry), _encode({**about, **size, **made}))

    def _note(self, entry: TarEntry) -> dict[str, Any] | None:
        try:
            return read_json(self.out, _note_name(entry))
        except FileNotFoundError:
            return None

    def _finish(self, entries: Sequence[TarEntry], say: Say) -> None:
        """Writes the files for readers of the format, and `export.json`, once all files exist."""
        with ThreadPoolExecutor(64) as pool:
            notes = list(pool.map(self._note, entries))
        if None in notes:
            if self._is_whole(entries):  # another machine finished it, and removed the notes
                self._clear(entries)
                return
            raise CorpusError(f"{self.out.uri} is not complete; run the same command again")
        made = [note for note in notes if note is not None]
        write_readers(self.joining, self.kind, self.out, made, say)
        content = {"identity": self.identity, "files": made, "sums": _sums(made)}
        self.out.create(WHOLE, _encode(content))
        self._clear(entries)

    def _clear(self, entries: Sequence[TarEntry]) -> None:
        """Removes the notes of a complete export."""
        with ThreadPoolExecutor(64) as pool:
            list(pool.map(self.out.remove, (_note_name(entry) for entry in entries)))
        self.out.remove(BEGUN)
        if self.out.local:
            with contextlib.suppress(OSError):  # another machine may have been quicker
                Path(self.out.path(NOTES)).rmdir()

    def _complete(self, say: Say) -> None:
        """Writes files that a complete export lacks because a package was not installed then."""
        if self.kind in CARDED and not self.out.exists(CROISSANT):
            write_readers(
                self.joining, self.kind, self.out, read_json(self.out, WHOLE)["files"], say
            )

    def _said(self, whole: Mapping[str, Any]) -> Iterator[str]:
        files = sum(file["samples"] > 0 for file in whole["files"])
        edition = self.joining.edition
        said = f"captions {edition.name} ({edition.hash})"
        yield f"export: {self.joining.name} as {self.kind}, {said}"
        for resolution, sums in whole["sums"].items():
            out = f", {sums['left_out']:,} left out for this" if self.joining.captioned else ""
            yield (
                f"  {resolution}: {sums['samples']:,} of "
                f"{counted(sums['samples'] + sums['left_out'], 'sample')}; "
                f"{sums['without']:,} have no caption{out}"
            )
        yield f"  {counted(files, 'file')}"


def _sums(notes: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Returns resolution -> numbers of samples: exported, without a caption, left out."""
    found: dict[str, Counter[str]] = {}
    for note in sorted(notes, key=lambda note: note["resolution"]):
        counted = found.setdefault(str(note["resolution"]), Counter())
        counted.update({name: note[name] for name in ("samples", "without", "left_out")})
    return {resolution: dict(counted) for resolution, counted in found.items()}


def _note_name(entry: TarEntry) -> str:
    return f"{NOTES}/{entry.path.removesuffix('.tar').replace('/', '-')}.json"


def _encode(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False).encode()

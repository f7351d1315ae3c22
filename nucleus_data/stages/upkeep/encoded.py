"""Removes the latents and text states of samples that are taken down, and keeps all others.

Latents are rewritten with their tar (`sets`). Text states are stored by text, without reference to
samples. So the texts of removed samples are noted as hashes (`texts_of`), those that other samples
also have are determined (`SaidTask`), and the states of the rest are removed (`StatesTask`).

    takedowns/<name>/lost.json                            texts of the removed samples
    takedowns/<name>/sets/<set>-<hash>/said/000012.json   those of them that tar 12 still has
    takedowns/<name>/texts.json                           states to remove, by file
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from nucleus_data.corpus.damaged import DamagedError, read_json
from nucleus_data.corpus.store import Store
from nucleus_data.errors import CorpusError
from nucleus_data.runner.work import Summary
from nucleus_data.sets.encoded import (
    WORK,
    Encoding,
    encoded_name,
    encodings,
    part_name,
    part_of,
    text_key,
)
from nucleus_data.sets.encoded_file import EncodedFile
from nucleus_data.sets.layout import SetFolder
from nucleus_data.stages.upkeep.notes import note_folder, notes_of
from nucleus_data.stages.upkeep.plan import TakedownPlan
from nucleus_data.stages.upkeep.tasks import TakedownTask, TarTask

SAID, LOST, TEXTS = "said", "lost.json", "texts.json"


def write_latents(folder: SetFolder, path: str, new: str, gone: Iterable[str]) -> None:
    """Rewrites the latents of a tar without some samples.

    A damaged file is not rewritten. It is removed with the old tar, and `encode` makes it again.

    Args:
        folder: The set.
        path: Path of the old tar.
        new: Path of the tar that replaces it.
        gone: Ids of the samples to remove.
    """
    keys = [bytes.fromhex(ident) for ident in gone]
    for old, name in zip(latents_of(folder, path), latents_of(folder, new), strict=True):
        try:
            content = EncodedFile(folder.store, old).without(keys)
        except (FileNotFoundError, DamagedError):
            continue
        folder.store.create(name, content)


def latents_of(folder: SetFolder, path: str) -> Iterator[str]:
    """Returns the names of a tar's files of latents, whether they exist or not."""
    every = encodings(folder.store, folder.path)
    return (folder.name(encoded_name(one.hash, path)) for one in every)


def texts_of(rows: pa.Table) -> list[str]:
    """Returns the sorted hashes, in hex, of all non-empty captions in rows of an edition."""
    texts = {text for captions in rows["captions"].to_pylist() for text in captions if text}
    return sorted(text_key(text).hex() for text in texts)


def unfinished_texts(folder: SetFolder) -> Iterator[str]:
    """Yields the files of incomplete text states, and leftover working files with texts."""
    for one in encodings(folder.store, folder.path):
        if one.texts:
            yield from folder.store.find(one.name() if _about(one) is None else one.name(WORK))


def _about(one: Encoding) -> dict[str, Any] | None:
    try:
        return one.about()
    except DamagedError:  # the edition of these texts is unknown
        return None


def plan_lost(store: Store, folders: Iterable[SetFolder], plan: TakedownPlan) -> list[SetFolder]:
    """Writes down the texts of removed samples; returns the sets with states of any of them."""
    name = f"{plan.folder}/{LOST}"
    if not store.exists(name):
        lost = {}
        for folder in folders:
            found: dict[str, set[str]] = defaultdict(set)
            for note in notes_of(folder, plan):
                for edition, keys in note.get("texts", {}).items():
                    found[edition] |= set(keys)
            lost[folder.path] = {
                edition: sorted(found[edition]) for edition in _stated(folder) if found.get(edition)
            }
        store.create(name, json.dumps(lost, sort_keys=True).encode())
    lost = read_json(store, name)
    return [SetFolder(store, path) for path in sorted(lost) if lost[path]]


def _stated(folder: SetFolder) -> set[str]:
    """Returns the editions whose texts have states."""
    abouts = (_about(one) for one in encodings(folder.store, folder.path) if one.texts)
    return {str(about["edition"]) for about in abouts if about is not None}


class SaidTask(TarTask):
    """Finds lost texts that samples of one tar still have (a task of the runner)."""

    def run(self, number: int) -> Summary:
        """Notes the texts; `number` counts the tars of all sets after the takedown."""
        folder, plan, number = self.opened_set(number)
        store = folder.store
        name = f"{note_folder(plan, folder)}/{SAID}/{number:06d}.json"
        if not store.exists(name):
            tar = folder.manifest()[number].path
            lost = read_json(store, f"{plan.folder}/{LOST}")[folder.path]
            found = {
                edition: sorted(
                    set(keys).intersection(texts_of(folder.new_edition(edition).captions(tar)))
                )
                for edition, keys in lost.items()
            }
            store.create(name, json.dumps(found, sort_keys=True).encode())
        return Summary(rows=1, done=1)


def plan_states(store: Store, folders: Iterable[SetFolder], plan: TakedownPlan) -> int:
    """Writes down which states to remove: those of texts that no sample has any more.

    Returns:
        The number of files with such states.
    """
    name, files = f"{plan.folder}/{TEXTS}", []
    if not store.exists(name):
        every = read_json(store, f"{plan.folder}/{LOST}")
        for folder in folders:
            lost = {edition: set(keys) for edition, keys in every[folder.path].items()}
            place = f"{note_folder(plan, folder)}/{SAID}"
            for note in store.list(place):
                for edition, keys in read_json(store, f"{place}/{note}").items():
                    lost[edition] -= set(keys)
            for one in encodings(store, folder.path):
                about = _about(one) if one.texts else None
                if about is not None:
                    keys = sorted(lost.get(str(about["edition"]), ()))
                    files += _files(one, int(about["parts"]), keys)
        store.create(name, json.dumps({"files": files}, sort_keys=True).encode())
    return len(read_json(store, name)["files"])


def _files(one: Encoding, parts: int, keys: Iterable[str]) -> list[dict[str, Any]]:
    by_part: dict[int, list[str]] = defaultdict(list)
    for key in keys:
        by_part[part_of(bytes.fromhex(key), parts)].append(key)
    return [{"file": one.name(part_name(n)), "keys": by_part[n]} for n in sorted(by_part)]


@dataclass(frozen=True)
class StatesTask(TakedownTask):
    """Removes text states from one file, or proves that they are not in it (a task of the runner).

    Attributes:
        prove: Whether to only read the file, and prove the absence.
    """

    prove: bool = False

    def run(self, number: int) -> Summary:
        """Rewrites or checks the file; `number` counts the files that `plan_states` wrote down.

        Raises:
            CorpusError: In a proof: the file still has one of the states.
        """
        corpus, plan = self.opened()
        store = corpus.store
        wanted = read_json(store, f"{plan.folder}/{TEXTS}")["files"][number]
        keys = [bytes.fromhex(key) for key in wanted["keys"]]
        try:
            file = EncodedFile(store, wanted["file"], texts=True)
        except FileNotFoundError:  # `encode` makes it again, from the remaining texts
            return Summary(rows=1, done=1)
        except DamagedError:
            # The file can't be read, but may still contain the states; `encode` makes it again.
            store.remove(wanted["file"])
            return Summary(rows=1, done=1)
        found = [key for key in keys if file.number(key) is not None]
        if found and self.prove:
            raise CorpusError(
                f"takedown {plan.name}: {wanted['file']} has the states of text {found[0].hex()}; "
                "run the same command again"
            )
        if found:
            store.put(wanted["file"], file.without(found))
        return Summary(rows=1, done=1)


def still_encoded(
    folder: SetFolder, path: str, ids: Iterable[str], *, new: bool = True
) -> Iterator[str]:
    """Yields descriptions of what is still present of some samples in a tar's latents.

    Args:
        folder: The set.
        path: Path of the tar.
        ids: Ids of the samples.
        new: Whether the tar was rewritten without some of them.

    Raises:
        DamagedError: The latents of a rewritten tar can't be read.
    """
    for name in latents_of(folder, path):
        try:
            file = EncodedFile(folder.store, name)
        except FileNotFoundError:
            continue
        except DamagedError:
            # Damaged latents of a tar that had none of the samples are reported by `verify`.
            if new:
                raise
            continue
        for ident in ids:
            if file.number(bytes.fromhex(ident)) is not None:
                yield f"{name} has the latent of {ident}"
                break

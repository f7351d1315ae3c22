"""Chooses the pictures a comparison evaluates on: unseen ones, and from which set to read each."""

from collections.abc import Iterable, Mapping
from typing import Any

from nucleus_data.hashing import keyed_uint64, keyed_unit
from nucleus_data.printed import counted
from nucleus_model.data.loader import Sample, TrainingSet
from nucleus_model.settings.choice import HOLDOUT_SEED
from nucleus_model.training.verdict.facts import Copies

SEED = 0  # not a run's seed, since all runs measure the same pictures
A, B, GIVEN = "a", "b", "reference"


class Unseen:
    """Filters out pictures whose bytes or duplicates an arm trains on, even under another id.

    Args:
        read: Says which set each picture is read from.
        train: The ids that each arm trains on.
        clusters: Id -> cluster of duplicates.
    """

    def __init__(
        self,
        read: "Read",
        train: Mapping[str, list[str]],
        clusters: Mapping[str, str],
    ) -> None:
        self.read, self.clusters = read, clusters
        self.hashes = {name: _hashes(opened) for name, opened in read.sets.items()}
        self.trained = {self.hashes[name][i] for name, ids in train.items() for i in ids}
        self.drawn = {clusters[i] for ids in train.values() for i in ids if i in clusters}
        self.copies: set[str] = set()

    def first(self, ids: Iterable[str], most: int | None) -> list[str]:
        """Returns up to `most` ids in keyed order, leaving out what an arm trains on."""
        chosen: list[str] = []
        for ident in in_keyed_order(ids):
            if len(chosen) == most:
                break
            known = self.hashes[self.read.set_of(ident)][ident] in self.trained
            if known or self.clusters.get(ident) in self.drawn:
                self.copies.add(ident)
            else:
                chosen.append(ident)
        return chosen

    def repeated(self, name: str) -> Copies:
        """Counts the pictures of a set that show what another one of it shows.

        Of pictures with the same bytes, or in the same cluster, all but one are counted.
        """
        hashes, ids = self.hashes[name], self.read.of[name]
        shown = {self.clusters.get(ident) or hashes[ident] for ident in ids}
        return Copies(len(ids) - len(shown), len(ids))

    def notes(self) -> tuple[str, ...]:
        """Returns a note about the pictures left out, if there were any."""
        if not self.copies:
            return ()
        return (
            f"{counted(len(self.copies), 'picture')} to measure (held out, or of the reference) "
            "show what an arm trains on under another id, and are left out",
        )


class Read:
    """Says which set each evaluated picture is read from, and with which caption."""

    def __init__(
        self, sets: Mapping[str, TrainingSet], of: Mapping[str, Mapping[str, Any]]
    ) -> None:
        self.sets, self.of = sets, of
        self.differ = 0

    def of_picture(self, ident: str) -> tuple[str, str]:
        """Returns a picture's set and caption; if both arms have it, a keyed coin flip decides."""
        chosen = self.set_of(ident)
        if chosen == GIVEN:
            return GIVEN, _best(self._sample(GIVEN, ident))
        both = [name for name in (A, B) if ident in self.of[name]]
        captions = {name: _best(self._sample(name, ident)) for name in both}
        if len(both) == 2 and captions[A] != captions[B]:
            self.differ += 1
        return chosen, captions[chosen]

    def set_of(self, ident: str) -> str:
        """Returns the set that a picture is read from."""
        if GIVEN in self.sets and ident in self.of[GIVEN]:
            return GIVEN
        both = [name for name in (A, B) if ident in self.of[name]]
        return both[int(len(both) == 2 and keyed_unit("verdict-coin", SEED, ident) < 0.5)]

    def _sample(self, name: str, ident: str) -> Sample:
        return self.sets[name].sample(self.of[name][ident][0])


def _hashes(opened: TrainingSet) -> dict[str, str]:
    """Returns id -> SHA-256 of the stored picture."""
    hashes: dict[str, str] = {}
    for tar in range(len(opened.tables.paths)):
        rows = opened.tables.folder.index(opened.tables.path(tar))
        hashes.update(zip(*(rows.column(n).to_pylist() for n in ("id", "sha256")), strict=True))
    return hashes


def in_keyed_order(ids: Any) -> list[str]:
    """Sorts ids by a keyed hash: a fixed pseudo-random order, independent of the pictures."""
    return sorted(ids, key=lambda i: (keyed_uint64("holdout", HOLDOUT_SEED, i), i))


def _best(sample: Sample) -> str:
    return sample.captions[-1] if sample.captions else ""


def notes_of(read: Read, measured: list[str], given: bool) -> tuple[str, ...]:
    """Returns notes for people about the reference pictures."""
    if given:
        return ()
    notes = []
    alone = {
        name: sum(i not in read.of[other] for i in measured) for name, other in ((A, B), (B, A))
    }
    if any(alone.values()):
        notes.append(
            f"No reference was given: of the {len(measured)} reference pictures, {alone[A]} are "
            f"only in A and {alone[B]} only in B, and a set does better on pictures like its own"
        )
    if read.differ:
        notes.append(
            f"No reference was given: {read.differ} measured pictures have different captions in A "
            "and B, and each is measured with one of the two at random. Give a reference whose "
            "captions you trust"
        )
    return tuple(notes)

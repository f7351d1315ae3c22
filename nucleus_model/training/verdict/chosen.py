"""Which pictures a comparison measures: where each is read from, and none that is trained on."""

from collections.abc import Iterable, Mapping
from typing import Any

from nucleus_data.hashing import keyed_uint64, keyed_unit
from nucleus_model.data.loader import Sample, TrainingSet
from nucleus_model.settings.choice import HOLDOUT_SEED

SEED = 0  # never a run's: all runs measure the same
A, B, GIVEN = "a", "b", "reference"


class Unseen:
    """Tells which pictures show what no arm trains on, under whatever id.

    Args:
        told: Where pictures are read from.
        train: The ids that each arm trains on.
        clusters: Id -> cluster of copies.
    """

    def __init__(
        self,
        told: "Read",
        train: Mapping[str, list[str]],
        clusters: Mapping[str, str],
    ) -> None:
        self.told, self.clusters = told, clusters
        self.hashes = {name: _hashes(opened) for name, opened in told.sets.items()}
        self.trained = {self.hashes[name][i] for name, ids in train.items() for i in ids}
        self.drawn = {clusters[i] for ids in train.values() for i in ids if i in clusters}
        self.copies: set[str] = set()

    def first(self, ids: Iterable[str], most: int | None) -> list[str]:
        """The first ones of some ids in an order by hash, copies left out."""
        found: list[str] = []
        for ident in in_keyed_order(ids):
            if len(found) == most:
                break
            known = self.hashes[self.told.set_of(ident)][ident] in self.trained
            if known or self.clusters.get(ident) in self.drawn:
                self.copies.add(ident)
            else:
                found.append(ident)
        return found

    def notes(self) -> tuple[str, ...]:
        """What was left out."""
        if not self.copies:
            return ()
        return (
            f"{len(self.copies)} pictures that were held out show what an arm trains on under "
            "another id, and are not measured",
        )


class Read:
    """Where measured pictures are read from, and with which caption."""

    def __init__(
        self, sets: Mapping[str, TrainingSet], of: Mapping[str, Mapping[str, Any]]
    ) -> None:
        self.sets, self.of = sets, of
        self.differ = 0

    def of_picture(self, ident: str) -> tuple[str, str]:
        """The set and the caption: of a picture that differs in both arms, by a keyed coin."""
        chosen = self.set_of(ident)
        if chosen == GIVEN:
            return GIVEN, _best(self._sample(GIVEN, ident))
        both = [name for name in (A, B) if ident in self.of[name]]
        captions = {name: _best(self._sample(name, ident)) for name in both}
        if len(both) == 2 and captions[A] != captions[B]:
            self.differ += 1
        return chosen, captions[chosen]

    def set_of(self, ident: str) -> str:
        """The set alone."""
        if GIVEN in self.sets and ident in self.of[GIVEN]:
            return GIVEN
        both = [name for name in (A, B) if ident in self.of[name]]
        return both[int(len(both) == 2 and keyed_unit("verdict-coin", SEED, ident) < 0.5)]

    def _sample(self, name: str, ident: str) -> Sample:
        return self.sets[name].sample(self.of[name][ident][0])


def _hashes(opened: TrainingSet) -> dict[str, str]:
    """Id -> SHA-256 of the stored picture."""
    found: dict[str, str] = {}
    for tar in range(len(opened.tables.paths)):
        rows = opened.tables.folder.index(opened.tables.path(tar))
        found.update(zip(*(rows.column(n).to_pylist() for n in ("id", "sha256")), strict=True))
    return found


def in_keyed_order(ids: Any) -> list[str]:
    """Ids in an order by hash, which has nothing to do with what they show."""
    return sorted(ids, key=lambda i: (keyed_uint64("holdout", HOLDOUT_SEED, i), i))


def _best(sample: Sample) -> str:
    return sample.captions[-1] if sample.captions else ""


def notes_of(told: Read, measured: list[str], given: bool) -> tuple[str, ...]:
    """What people should know of the reference."""
    if given:
        return ()
    notes = []
    alone = {
        name: sum(i not in told.of[other] for i in measured) for name, other in ((A, B), (B, A))
    }
    if any(alone.values()):
        notes.append(
            f"No reference was given: of the {len(measured)} reference pictures {alone[A]} are in "
            f"A alone and {alone[B]} in B alone, and a set does better on pictures like its own"
        )
    if told.differ:
        notes.append(
            f"No reference was given: {told.differ} measured pictures have another caption in A "
            "than in B, and each is measured with one of the two by chance. Give a reference whose "
            "captions you trust"
        )
    return tuple(notes)

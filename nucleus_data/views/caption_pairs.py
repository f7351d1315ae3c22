"""Matched and mismatched pairs of pictures and captions with raw scores, for `nucleus calibrate`.

Pairs come from a table of labels, or are shuffled: each picture is paired with its own caption, and
with the caption of the next record in a keyed order. All copies of a picture are in the same half,
so that a calibration is evaluated on pictures that it was not fitted to.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nucleus_data.corpus.tables import Table
from nucleus_data.engines.agreement import Pairs
from nucleus_data.hashing import keyed_uint64
from nucleus_data.runner.run import Run
from nucleus_data.views.copies import clusters
from nucleus_data.views.labels import check_used, find_records, number_of, read_labels, truth_of
from nucleus_data.views.stored_vectors import StoredModel, captioned_ids, unit_vectors

PURPOSE = "calibrate"  # name of the keyed draw that divides records into halves


@dataclass(frozen=True)
class LabelledPairs:
    """N pairs with their raw scores.

    Attributes:
        raw: (N,) cosines of picture and caption.
        matched: (N,) bool, whether picture and caption belong together.
        held_out: (N,) bool, whether the pair is for evaluation, and not fitted on.
        own: (N,) bool, whether it is a record's own caption, for counts of routed records.
        about: How the pairs were made, JSON-able.
    """

    raw: np.ndarray
    matched: np.ndarray
    held_out: np.ndarray
    own: np.ndarray
    about: Mapping[str, Any]

    def part(self, held_out: bool, prior: float) -> Pairs:
        """Returns the pairs to evaluate on, or those to fit on.

        Args:
            held_out: Which half.
            prior: Assumed share of matched pairs.
        """
        here = self.held_out == held_out
        return Pairs(self.raw[here & self.matched], self.raw[here & ~self.matched], prior)


def shuffled_pairs(
    run: Run, model: StoredModel, copies: Table | None, most: int, seed: int
) -> LabelledPairs:
    """Pairs each picture with its own caption, and with that of the next record in its half.

    Mismatched pairs are left out if they may match: copies, equal captions, equal pictures.

    Args:
        run: The run.
        model: The model whose stored embeddings are compared.
        copies: The table of pairs of copies; None if there is none.
        most: Maximum number of records.
        seed: Seed of the choice of records and of the halves.
    """
    asked = captioned_ids(run.corpus, model, most, seed)
    places, images = unit_vectors(run.corpus, model.tables["image"], asked)
    ids = [asked[place] for place in places]
    places, texts = unit_vectors(run.corpus, model.tables["text"], ids)
    ids, images = [ids[place] for place in places], images[places]
    groups = clusters(run.corpus, copies, ids)
    halves = _halves([groups[ident] for ident in ids], seed)
    raw: list[np.ndarray] = []
    matched: list[np.ndarray] = []
    held_out: list[np.ndarray] = []
    left_out = {"copies": 0, "same_caption": 0, "same_picture": 0}
    for half in (False, True):
        here = np.flatnonzero(halves == half)
        other = np.roll(here, -1)
        own = np.einsum("nd,nd->n", images[here], texts[here])
        across = np.einsum("nd,nd->n", images[here], texts[other])
        copies_here = [groups[ids[a]] == groups[ids[b]] for a, b in zip(here, other, strict=True)]
        why = [
            np.array(copies_here, bool),
            (texts[here] == texts[other]).all(axis=1),
            (images[here] == images[other]).all(axis=1),
        ]
        fit = np.ones(len(here), bool)
        for reason, found in zip(left_out, why, strict=True):
            left_out[reason] += int((found & fit).sum())
            fit &= ~found
        raw += [own, across[fit]]
        matched += [np.ones(len(own), bool), np.zeros(int(fit.sum()), bool)]
        held_out.append(np.full(len(own) + int(fit.sum()), half))
    joined = np.concatenate(matched)
    about = {
        "pairs": "shuffled",
        "records": len(ids),
        "without_vector": len(asked) - len(ids),
        "left_out": left_out,
    }
    return LabelledPairs(np.concatenate(raw), joined, np.concatenate(held_out), joined, about)


def labelled_pairs(
    run: Run, model: StoredModel, copies: Table | None, labels: Path, seed: int
) -> LabelledPairs:
    """Reads labelled pairs, scored by the column `similarity` or by cosines of stored embeddings.

    Args:
        run: The run.
        model: The model whose stored embeddings are compared.
        copies: The table of pairs of copies; None if there is none.
        labels: The table of labels.
        seed: Seed of the halves.

    Raises:
        RequestError: The table can't be read, or no row can be used.
    """
    rows = read_labels(labels, "matched", ("similarity",))
    own = not rows or "similarity" not in rows[0]
    found = find_records(run.corpus, rows)
    scores: dict[str, float] = {}
    if own:
        scores = _own_cosines(run, model, sorted({ident for ident in found if ident}))
    used, left_out = [], {"match no record": 0, "are neither true nor false": 0}
    left_out |= {"have no vectors" if own else "have no finite similarity": 0}
    reasons = list(left_out)
    for row, ident in zip(rows, found, strict=True):
        truth = truth_of(row["matched"])
        score = scores.get(ident or "") if own else number_of(row["similarity"])
        if ident is None:
            left_out[reasons[0]] += 1
        elif truth is None:
            left_out[reasons[1]] += 1
        elif score is None:
            left_out[reasons[2]] += 1
        else:
            used.append((ident, score, truth))
    line = check_used(labels.name, len(rows), len(used), left_out)
    used.sort()  # so that the rows' order changes nothing
    groups = clusters(run.corpus, copies, {ident for ident, _, _ in used})
    about = {
        "pairs": labels.name,
        "content": hashlib.sha256(labels.read_bytes()).hexdigest()[:12],
        "records": len({ident for ident, _, _ in used}),
        "labels": line,
    }
    return LabelledPairs(
        np.array([score for _, score, _ in used]),
        np.array([truth for _, _, truth in used]),
        _halves([groups[ident] for ident, _, _ in used], seed),
        np.ones(len(used), bool),
        about,
    )


def _own_cosines(run: Run, model: StoredModel, ids: list[str]) -> dict[str, float]:
    """Returns id -> cosine of picture and own caption, for records with both embeddings."""
    places, images = unit_vectors(run.corpus, model.tables["image"], ids)
    ids = [ids[place] for place in places]
    places, texts = unit_vectors(run.corpus, model.tables["text"], ids)
    cosines = np.einsum("nd,nd->n", images[places], texts)
    return {ids[place]: float(c) for place, c in zip(places, cosines, strict=True)}


def _halves(groups: list[str], seed: int) -> np.ndarray:
    """Draws which records are held out, (N,) bool, given each record's cluster of copies."""
    return np.array([bool(keyed_uint64(PURPOSE, seed, group) & 1) for group in groups], bool)

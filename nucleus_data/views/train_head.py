"""`nucleus train-head`: a head on rated pictures, from vectors that a corpus has stored."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleus_data.corpus.tables import Table
from nucleus_data.engines.find import ModelReference
from nucleus_data.engines.head_training import Trained, rank_correlation, train_head
from nucleus_data.engines.heads import Kind, add_head, heads_beside
from nucleus_data.errors import RequestError
from nucleus_data.hashing import keyed_uint64
from nucleus_data.printed import counted
from nucleus_data.runner.run import Run
from nucleus_data.stage import RowStage
from nucleus_data.stages.dedup.stage import Dedup
from nucleus_data.views.copies import clusters, pairs_found
from nucleus_data.views.head_card import CARD, card
from nucleus_data.views.labels import check_used, find_records, number_of, read_labels
from nucleus_data.views.stored_vectors import StoredModel, stored_model, unit_vectors

FEWEST = 50  # pictures: with fewer the interval is as wide as the scale
PURPOSE = "train-head"  # of the keyed folds


@dataclass(frozen=True)
class Rated:
    """N pictures with their ratings.

    Attributes:
        ids: (N,) ids of the records.
        ratings: (N,) mean rating of each picture.
        vectors: (N, D) embeddings of unit length.
        clusters: (N,) cluster of copies of each picture.
        raters: Number of raters; 0 if the table does not name them.
        agreement: Rank correlation of single ratings with the mean of the other raters' ratings of
            the same picture; None if there are not enough.
        line: A line for people: how many rows were used, and why others were not.
    """

    ids: Sequence[str]
    ratings: np.ndarray
    vectors: NDArray[np.float64]
    clusters: Sequence[str]
    raters: int
    agreement: float | None
    line: str


def train(
    run: Run,
    embed: RowStage[Any],
    dedup: Dedup,
    *,
    ratings: Path,
    model: str,
    name: str,
    kind: Kind,
    folds: int,
    seed: int,
    out: Path,
) -> Iterator[str]:
    """Trains a head with cross-validation, and adds it with a card to a folder of heads.

    Args:
        run: The run.
        embed: The stage whose embeddings are read.
        dedup: The stage whose pairs are copies; all copies of a picture are in one fold.
        ratings: A table of ratings.
        model: The embedding model: `main`, or a name in `embed.models`.
        name: The head's name, which is also its column's name.
        kind: Kind of the head's output.
        folds: Number of folds for cross-validation.
        seed: Seed of the division into folds.
        out: The folder of heads; made if it does not exist.

    Yields:
        Lines for people.

    Raises:
        RequestError: The ratings or embeddings do not exist or are too few, or the name is taken.
    """
    found = stored_model(run, embed, model, ("image",))
    rated = _rated(run, found, pairs_found(run, dedup, PURPOSE), ratings, kind)
    yield rated.line
    reference = ModelReference(found.model, "", found.revision, local=True)
    heads_beside(out, name, rated.vectors.shape[1], reference)  # checked before the training
    parts = np.array([keyed_uint64(PURPOSE, seed, c) % folds for c in rated.clusters])
    smallest = int(np.bincount(parts, minlength=folds).min())
    if len(rated.ids) < FEWEST or smallest < 2:
        raise RequestError(
            f"too few rated pictures: {len(rated.ids)}, {smallest} in the smallest of {folds} "
            f"folds; at least {FEWEST} are needed, and 2 in each fold"
        )
    if np.ptp(rated.ratings) == 0:
        raise RequestError(
            f"{ratings}: every picture is rated {rated.ratings[0]:g}; different ratings are needed"
        )
    trained = train_head(rated.vectors, rated.ratings, rated.clusters, parts, kind, seed)
    try:
        heads = add_head(out, name, trained.head, reference)
        _add_card(out, found, card(name, _facts(found, rated, trained, ratings, folds, seed)))
    except OSError as error:
        raise RequestError(f"--out {out} can't be written: {error}") from error
    yield from _lines(rated, trained)
    yield f"{out}: {', '.join(heads.heads)}; the card is {out / CARD}"
    yield f"use it with score.heads={out} and, in a rule, {name}"


def _rated(run: Run, model: StoredModel, copies: Table | None, file: Path, kind: Kind) -> Rated:
    """Returns the rated pictures that have an embedding, sorted by id. Raises RequestError."""
    rows = read_labels(file, "rating", ("rater",))
    records = find_records(run.corpus, rows)
    known = sorted({ident for ident in records if ident})
    places, vectors = unit_vectors(run.corpus, model.tables["image"], known)
    ids = [known[place] for place in places]
    with_vector = set(ids)
    left_out = {"match no record": 0, "have no finite rating": 0, "have no vector": 0}
    by_id: dict[str, list[tuple[str | None, float]]] = defaultdict(list)
    outside = 0
    for row, ident in zip(rows, records, strict=True):
        rating = number_of(row["rating"])
        if ident is None:
            left_out["match no record"] += 1
        elif rating is None:
            left_out["have no finite rating"] += 1
        elif ident not in with_vector:
            left_out["have no vector"] += 1
        else:
            outside += not 0 <= rating <= 1
            by_id[ident].append((row.get("rater"), rating))
    if kind == "probability" and outside:
        raise RequestError(
            f"{file}: {outside:,} ratings are not within 0 to 1, which --kind probability "
            "requires; give ratings of 0 and 1, or use --kind value"
        )
    line = check_used(file.name, len(rows), sum(map(len, by_id.values())), left_out)
    here = [place for place, ident in enumerate(ids) if ident in by_id]
    ids = [ids[place] for place in here]
    groups = clusters(run.corpus, copies, ids)
    raters = {rater for some in by_id.values() for rater, _ in some if rater}
    return Rated(
        ids,
        np.array([fmean(rating for _, rating in by_id[ident]) for ident in ids]),
        vectors[here],
        [groups[ident] for ident in ids],
        len(raters),
        _agreement(by_id),
        line,
    )


def _agreement(by_id: Mapping[str, Sequence[tuple[str | None, float]]]) -> float | None:
    """Returns the rank correlation of single ratings with the mean of other raters' ratings.

    Args:
        by_id: Record id -> (rater, rating) pairs.
    """
    own, others = [], []
    for _, some in sorted(by_id.items()):
        for place, (rater, rating) in enumerate(some):
            rest = [other for i, (who, other) in enumerate(some) if i != place and who != rater]
            if rater and rest:
                own.append(rating)
                others.append(fmean(rest))
    return rank_correlation(np.array(own), np.array(others)) if len(own) > 2 else None


def _facts(
    model: StoredModel, rated: Rated, trained: Trained, file: Path, folds: int, seed: int
) -> dict[str, Any]:
    """Returns the facts on the head's card."""
    return {
        "kind": trained.head.kind,
        "model": model.model,
        "revision": model.revision,
        "file": file.name,
        "content": hashlib.sha256(file.read_bytes()).hexdigest()[:12],
        "rows": rated.line,
        "pictures": len(rated.ids),
        "clusters": len(set(rated.clusters)),
        "raters": rated.raters,
        "agreement": rated.agreement,
        "range": (float(rated.ratings.min()), float(rated.ratings.max())),
        "deviation": float(rated.ratings.std()),
        "folds": folds,
        "seed": seed,
        "trained": trained,
    }


def _add_card(folder: Path, model: StoredModel, text: str) -> None:
    """Adds a head's section to the folder's card."""
    file = folder / CARD
    head = f"# Heads on vectors of {model.model}, revision {model.revision}\n"
    before = file.read_text() if file.exists() else head
    file.write_text(f"{before.rstrip()}\n\n{text}")


def _lines(rated: Rated, trained: Trained) -> Iterator[str]:
    """Yields lines about the head's cross-validated accuracy."""
    yield (
        f"{counted(len(rated.ids), 'picture')}; rank correlation with the ratings of unseen "
        "pictures: "
        f"{trained.correlation:.3f} (95 %: {trained.low:.3f} to {trained.high:.3f})"
    )
    yield (
        f"root mean square error {trained.error:.3g}; that of the mean rating would be "
        f"{rated.ratings.std():.3g}"
    )
    if rated.agreement is not None:
        yield f"agreement between raters: {rated.agreement:.3f}"
    if trained.low <= 0:
        yield "this may be chance, as the interval reaches 0; more ratings are needed"

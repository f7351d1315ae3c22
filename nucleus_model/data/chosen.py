"""Chooses which samples of a set a run trains on, and which are held out and measured.

The rules are those of `settings.choice`. For a set with an exact order, every id is looked at. For
a larger one, the held-out samples come from its first tars, which are a representative subset.
"""

from dataclasses import dataclass

import numpy as np

from nucleus_data.errors import RequestError
from nucleus_model.data.draws import Numbers, as_hex, keyed
from nucleus_model.data.loader import TrainingSet
from nucleus_model.data.samples import Sample
from nucleus_model.data.view import is_held_out
from nucleus_model.settings.choice import HOLDOUT_SEED, choose
from nucleus_model.settings.settings import QuickTrainSettings


@dataclass(frozen=True)
class Chosen:
    """The samples to train on, and the held-out samples.

    Attributes:
        numbers: Numbers of the samples to train on, sorted by id; empty for a set whose order goes
            by streams, for which `view` decides tar by tar.
        held_out: Samples to measure the held-out loss on.
    """

    numbers: Numbers
    held_out: list[Sample]


def choose_samples(training_set: TrainingSet, settings: QuickTrainSettings) -> Chosen:
    """Chooses what is trained on and what is held out.

    Raises:
        RequestError: `limit` or `sample` leaves too little of the set, or `limit` is given for a
            set without an exact order.
    """
    if not training_set.exact:
        if settings.limit is not None:
            raise RequestError(
                f"quick_train.limit: {training_set.store.uri} has {training_set.count:,} samples, "
                f"but only sets of fewer than {settings.exact_below:,} can be limited; use "
                "quick_train.sample"
            )
        return Chosen(np.empty(0, np.int64), _first_held_out(training_set, settings))
    by_id = training_set.by_id
    ids = training_set.tables.whole()["id"][by_id]
    if settings.limit is not None or settings.sample < 1:
        # The plain rules, with their error messages; fast enough, as few ids are left.
        train, held = choose([text.decode() for text in as_hex(ids)], settings)
        return Chosen(
            by_id[_positions(ids, train)],
            [training_set.sample(int(by_id[n])) for n in _positions(ids, held)],
        )
    out = is_held_out(ids, settings.holdout_share)
    measured = np.flatnonzero(out)
    order = np.argsort(keyed("holdout", HOLDOUT_SEED, ids[measured]), kind="stable")
    measured = measured[order][: settings.holdout_limit]
    return Chosen(by_id[~out], [training_set.sample(int(by_id[n])) for n in measured])


def _positions(ids: Numbers, wanted: list[str]) -> Numbers:
    """Returns the indices of `wanted` in an array of ids."""
    every = np.ascontiguousarray(ids).view("V16").ravel()
    place_of = {bytes(value): place for place, value in enumerate(every)}
    return np.array([place_of[bytes.fromhex(ident)] for ident in wanted], np.int64)


def _first_held_out(training_set: TrainingSet, settings: QuickTrainSettings) -> list[Sample]:
    """Returns held-out samples from the first tars of each bucket, in the order of their hash."""
    keyed_samples: list[tuple[int, Sample]] = []
    most = max((len(bucket.tars) for bucket in training_set.buckets), default=0)
    for place in range(most if settings.holdout_share else 0):
        for bucket in training_set.buckets:
            if place < len(bucket.tars):
                tar = int(bucket.tars[place])
                ids = training_set.tables.places(tar)["id"]
                rows = np.flatnonzero(is_held_out(ids, settings.holdout_share))
                keys = keyed("holdout", HOLDOUT_SEED, ids[rows])
                few = np.argsort(keys, kind="stable")[: settings.holdout_limit]
                keyed_samples += [
                    (int(keys[n]), training_set.sample_at(tar, int(rows[n]))) for n in few
                ]
        if len(keyed_samples) >= settings.holdout_limit:
            break
    return [sample for _, sample in sorted(keyed_samples, key=lambda item: item[0])][
        : settings.holdout_limit
    ]

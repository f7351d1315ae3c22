"""Chooses the samples of a training set that a run trains on, and those that it holds out.

The choice depends on the ids alone, and needs no torch, so that a dry run can count the samples. A
sample is held out by a hash of its id; so it is held out of every set that contains it, and of
every part of such a set.
"""

import math
from collections.abc import Sequence

from nucleus_data.errors import RequestError
from nucleus_data.hashing import keyed_uint64, keyed_unit, sample_unit
from nucleus_model.settings.settings import QuickTrainSettings

HOLDOUT_SEED = 0  # never the run's seed, so that the held-out losses of different runs compare


def choose(ids: Sequence[str], settings: QuickTrainSettings) -> tuple[list[str], list[str]]:
    """Chooses the ids of a set to train on, and the held-out ids to measure.

    First, `settings.sample` takes a share, by a keyed hash. Then `settings.limit` takes the first
    samples in the order of the ids. As ids are hashes, these are spread over all aspect buckets,
    and a smaller limit takes a subset of a larger one's.

    Args:
        ids: Ids of all samples of the set, in any order.
        settings: The settings; `sample`, `limit`, `holdout_share` and `holdout_limit` are used.

    Returns:
        Ids to train on, ascending; and the held-out ids to measure.

    Raises:
        RequestError: The sample or the limit leaves nothing to train on, or nothing held out
            although the whole set would have held-out samples.
    """
    whole = sorted(ids)
    # If the whole set has held-out samples, a smaller choice must have some, too. Otherwise a run
    # would silently lack the held-out loss that its settings request.
    train, held = split_holdout(whole, settings.holdout_share, settings.holdout_limit)
    needed = [set(part) for part in (train, held) if part]
    sampled = whole
    if settings.sample < 1:
        units = {i: sample_unit(i) for i in whole}
        sampled = [i for i in whole if units[i] < settings.sample]
        if any(part.isdisjoint(sampled) for part in needed):
            # The smallest share that still has one sample of each kind.
            least = max(min(units[i] for i in part) for part in needed)
            raise RequestError(
                f"a sample of {settings.sample:g} "
                f"{_found(sampled, whole, settings)}; use a share of "
                f"{(math.floor(least * 1e4) + 1) / 1e4:.2%} or more{_instead(held)}"
            )
    chosen = sampled[: settings.limit]
    if any(part.isdisjoint(chosen) for part in needed):
        least = 1 + max(next(n for n, i in enumerate(sampled) if i in part) for part in needed)
        raise RequestError(
            f"a limit of {settings.limit} {_found(chosen, whole, settings)}; "
            f"use {least} or more{_instead(held)}"
        )
    return split_holdout(chosen, settings.holdout_share, settings.holdout_limit)


def split_holdout(ids: Sequence[str], share: float, limit: int) -> tuple[list[str], list[str]]:
    """Splits samples into those to train on and those held out, by their ids alone.

    Args:
        ids: Ids of all samples.
        share: Share to hold out, by a hash of each id; the actual share of a small set differs.
        limit: Maximum number of held-out samples to measure. The others are neither trained on nor
            measured.

    Returns:
        Ids to train on, in the order of `ids`; and the held-out ids to measure, in the order of a
        hash, which is the same in every set.
    """
    # By a keyed hash, not by position: larger sets, and parts of this one, hold out the same
    # samples, so that held-out losses of different runs compare.
    held = {i for i in ids if keyed_unit("holdout", HOLDOUT_SEED, i) < share}
    measured = sorted(held, key=lambda i: (keyed_uint64("holdout", HOLDOUT_SEED, i), i))
    return [i for i in ids if i not in held], measured[:limit]


def _found(chosen: Sequence[str], whole: Sequence[str], settings: QuickTrainSettings) -> str:
    """Words what a choice leaves of the set, for an error message."""
    train, held = split_holdout(chosen, settings.holdout_share, settings.holdout_limit)
    return (
        f"leaves {len(chosen)} of the set's {len(whole)} samples: {len(train)} to train on, "
        f"{len(held)} held out"
    )


def _instead(held: Sequence[str]) -> str:
    return " (or quick_train.holdout_limit=0, for no held-out loss)" if held else ""

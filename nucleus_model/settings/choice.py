"""Which samples of a training set a run uses: a share or the first of them; to train, or held out.

All of it follows from the ids alone and is free of torch, so that a dry run can count it. A sample
is held out by a hash of its id, so it is held out of every set, and every part of one, that has it.
"""

import math
from collections.abc import Sequence

from nucleus_data.errors import RequestError
from nucleus_data.hashing import keyed_uint64, keyed_unit, sample_unit
from nucleus_model.settings.settings import QuickTrainSettings

HOLDOUT_SEED = 0  # never the run's seed: runs must meet the same noise


def choose(ids: Sequence[str], settings: QuickTrainSettings) -> tuple[list[str], list[str]]:
    """Chooses the ids to train on, and those held out and measured, of a whole set.

    `settings.sample` chooses first, by a keyed hash; then `settings.limit` takes the first ones in
    the order of the ids. (Ids are hashes: the first ones are spread over all aspect buckets, and a
    smaller limit's are among a larger one's.)

    Args:
        ids: Ids of all samples of the set, in any order.
        settings: `sample`, `limit`, `holdout_share` and `holdout_limit`.

    Returns:
        Ids to train on, ascending, and held-out ones.

    Raises:
        RequestError: The sample or the limit leaves nothing to train on, or nothing held out of a
            set of which something would be.
    """
    whole = sorted(ids)
    # What the whole set has of both kinds, a smaller choice must have too: a run that was asked
    # for a held-out loss and silently has none would look like one that was not asked.
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
                f"{_found(sampled, whole, settings)}; allowed here: a share of "
                f"{(math.floor(least * 1e4) + 1) / 1e4:.2%} or more{_instead(held)}"
            )
    chosen = sampled[: settings.limit]
    if any(part.isdisjoint(chosen) for part in needed):
        least = 1 + max(next(n for n, i in enumerate(sampled) if i in part) for part in needed)
        raise RequestError(
            f"a limit of {settings.limit} {_found(chosen, whole, settings)}; "
            f"allowed here: {least} or more{_instead(held)}"
        )
    return split_holdout(chosen, settings.holdout_share, settings.holdout_limit)


def split_holdout(ids: Sequence[str], share: float, limit: int) -> tuple[list[str], list[str]]:
    """Splits samples into those to train on and those held out, by their ids alone.

    Args:
        ids: All of them.
        share: Share to hold out, by a hash of each id; the real share of a small set differs.
        limit: How many of the held-out samples are measured; the rest is neither trained on nor
            measured.

    Returns:
        Ids of training samples in the order of `ids`, and of the measured held-out ones in an
        order by hash, which is the same in every set.
    """
    # By a keyed hash, not by position: a larger set, or a part of this one, holds out the same
    # samples, so held-out losses of different runs compare.
    held = {i for i in ids if keyed_unit("holdout", HOLDOUT_SEED, i) < share}
    measured = sorted(held, key=lambda i: (keyed_uint64("holdout", HOLDOUT_SEED, i), i))
    return [i for i in ids if i not in held], measured[:limit]


def _found(chosen: Sequence[str], whole: Sequence[str], settings: QuickTrainSettings) -> str:
    train, held = split_holdout(chosen, settings.holdout_share, settings.holdout_limit)
    return (
        f"leaves {len(chosen)} of the set's {len(whole)} samples: {len(train)} to train on, "
        f"{len(held)} held out"
    )


def _instead(held: Sequence[str]) -> str:
    return " (or quick_train.holdout_limit=0, for no held-out loss)" if held else ""

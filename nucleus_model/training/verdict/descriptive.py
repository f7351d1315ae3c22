"""Where two arms differ: bins of sigma, groups of pictures, single pictures, curves of training.

None of it decides, so none of it has a p value: with some dozens of rows, one in twenty would seem
to differ where nothing does. Intervals are of one row each, over replicates.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from nucleus_model.training.verdict.collect import REFERENCE, of_part, picture_differences
from nucleus_model.training.verdict.intervals import Numbers, paired, unpaired

LEAST = 30  # pictures of a group that is shown
TOP = 100  # pictures that gained, and lost, most
POINTS = 20  # of a curve

Tables = Mapping[str, Sequence[pa.Table]]


@dataclass(frozen=True)
class Row:
    """One difference, B minus A.

    Attributes:
        name: Of what.
        pictures: How many it is a mean of.
        a, b: Means over replicates.
        low, high: Of the difference, 95 %, over replicates, of this row alone.
    """

    name: str
    pictures: int
    a: float
    b: float
    low: float
    high: float


@dataclass(frozen=True)
class PictureChange:
    """A picture's loss, B minus A, mean over replicates."""

    id: str
    difference: float


@dataclass(frozen=True)
class Curve:
    """A quantity of training as it went, by arm.

    Attributes:
        tokens: (P,) image tokens seen.
        mean: Arm -> (P,) means over replicates.
        low, high: Arm -> (P,) smallest and largest replicate.
    """

    tokens: tuple[int, ...]
    mean: Mapping[str, tuple[float, ...]]
    low: Mapping[str, tuple[float, ...]]
    high: Mapping[str, tuple[float, ...]]


def bins(tables: Tables, *, pairs: bool) -> list[Row]:
    """The loss with true captions in each bin of sigma, from little noise to all noise."""
    found = {arm: [of_part(table, REFERENCE).true for table in of] for arm, of in tables.items()}
    count = found["a"][0].shape[1]
    values = {arm: np.array([true.mean(axis=0) for true in of]) for arm, of in found.items()}
    return [
        row(
            f"{number / count:.3g} to {(number + 1) / count:.3g}",
            len(found["a"][0]),
            values["a"][:, number],
            values["b"][:, number],
            pairs=pairs,
        )
        for number in range(count)
    ]


def groups(tables: Tables, group_of: Mapping[str, str], *, pairs: bool) -> list[Row]:
    """The loss of groups of reference pictures; those of fewer than 30 are left out.

    Args:
        tables: The runs' tables, by arm.
        group_of: Id -> its group; a picture without one is in none.
        pairs: Whether replicates belong together.
    """
    found = {arm: [of_part(table, REFERENCE) for table in of] for arm, of in tables.items()}
    rows = []
    for name, places in members_of(tables, group_of).items():
        if len(places) >= LEAST:
            a, b = (
                np.array([losses.true[places].mean() for losses in found[arm]])
                for arm in ("a", "b")
            )
            rows.append(row(name, len(places), a, b, pairs=pairs))
    return rows


def members_of(tables: Tables, group_of: Mapping[str, str]) -> dict[str, list[int]]:
    """The places of each group's pictures among those that were measured, by its name."""
    members: dict[str, list[int]] = defaultdict(list)
    for place, ident in enumerate(of_part(tables["a"][0], REFERENCE).ids):
        if ident in group_of:
            members[group_of[ident]].append(place)
    return dict(sorted(members.items()))


def changed_most(tables: Tables) -> tuple[list[PictureChange], list[PictureChange]]:
    """The reference pictures that B has learned more, and less, than A; up to 100 each.

    Returns:
        Gained (negative differences, the largest first) and lost.
    """
    ids, table = picture_differences(tables)
    means = table.mean(axis=0)
    # By id where they are equal, so that the page has the same bytes each time.
    order = sorted(range(len(ids)), key=lambda place: (means[place], ids[place]))
    every = [PictureChange(ids[place], float(means[place])) for place in order]
    gained = [change for change in every if change.difference < 0][:TOP]
    lost = [change for change in reversed(every) if change.difference > 0][:TOP]
    return gained, lost


def curve(values: Mapping[str, Sequence[Sequence[float]]], tokens_a_step: int) -> Curve:
    """A quantity's means over stretches of training of equally many image tokens.

    Args:
        values: Arm -> replicate -> a value a step.
        tokens_a_step: Image tokens of a step.
    """
    steps = min(len(of) for runs in values.values() for of in runs)
    ends = np.unique(np.linspace(0, steps, min(POINTS, steps) + 1).round().astype(int))[1:]
    starts = np.concatenate([[0], ends[:-1]])
    shaped: dict[str, Numbers] = {
        arm: np.array(
            [[np.mean(of[s:e]) for s, e in zip(starts, ends, strict=True)] for of in runs]
        )
        for arm, runs in values.items()
    }
    return Curve(
        tuple(int(end) * tokens_a_step for end in ends),
        {arm: tuple(table.mean(axis=0).tolist()) for arm, table in shaped.items()},
        {arm: tuple(table.min(axis=0).tolist()) for arm, table in shaped.items()},
        {arm: tuple(table.max(axis=0).tolist()) for arm, table in shaped.items()},
    )


def row(name: str, pictures: int, a: Numbers, b: Numbers, *, pairs: bool) -> Row:
    """A difference over replicates; unbounded where a value of them is not finite.

    Args:
        name: Of what.
        pictures: How many it is a mean of.
        a: (R,) of arm A.
        b: (R,) of arm B.
        pairs: Whether replicates belong together.
    """
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return Row(name, pictures, float(a.mean()), float(b.mean()), -np.inf, np.inf)
    found = paired(b - a) if pairs else unpaired(a, b)
    return Row(name, pictures, float(a.mean()), float(b.mean()), found.low, found.high)

"""Descriptive differences of two arms: by noise bins, groups, single pictures, training curves.

None of these decides anything, so there are no p values: of several dozen rows, one in twenty would
look significant by chance. Each row's interval is over replicates, and not adjusted for other rows.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from nucleus_model.training.verdict.collect import REFERENCE, of_part, picture_differences
from nucleus_model.training.verdict.intervals import Numbers, paired, unpaired

LEAST = 30  # minimum number of pictures of a group that is shown
TOP = 100  # number of pictures shown that gained, and that lost, the most
POINTS = 20  # points of a training curve

Tables = Mapping[str, Sequence[pa.Table]]


@dataclass(frozen=True)
class Row:
    """One difference, B minus A.

    Attributes:
        name: What is compared.
        pictures: Number of pictures averaged over.
        a, b: Means over replicates.
        low, high: Ends of the 95 % interval of the difference, over replicates, not adjusted for
            other rows.
    """

    name: str
    pictures: int
    a: float
    b: float
    low: float
    high: float


@dataclass(frozen=True)
class PictureChange:
    """The difference of a picture's loss, B minus A, averaged over replicates."""

    id: str
    difference: float


@dataclass(frozen=True)
class Curve:
    """The course of a quantity during training, by arm.

    Attributes:
        tokens: (P,) image tokens seen so far.
        mean: Arm -> (P,) means over replicates.
        low, high: Arm -> (P,) minima and maxima over replicates.
    """

    tokens: tuple[int, ...]
    mean: Mapping[str, tuple[float, ...]]
    low: Mapping[str, tuple[float, ...]]
    high: Mapping[str, tuple[float, ...]]


def bins(tables: Tables, *, pairs: bool) -> list[Row]:
    """Compares the loss with true captions in each noise bin, from little noise to pure noise."""
    losses = {arm: [of_part(table, REFERENCE).true for table in of] for arm, of in tables.items()}
    count = losses["a"][0].shape[1]
    values = {arm: np.array([true.mean(axis=0) for true in of]) for arm, of in losses.items()}
    return [
        row(
            f"{number / count:.3g} to {(number + 1) / count:.3g}",
            len(losses["a"][0]),
            values["a"][:, number],
            values["b"][:, number],
            pairs=pairs,
        )
        for number in range(count)
    ]


def groups(tables: Tables, group_of: Mapping[str, str], *, pairs: bool) -> list[Row]:
    """Compares the loss on groups of reference pictures; groups of fewer than 30 are left out.

    Args:
        tables: The runs' losses, by arm.
        group_of: Id -> group; pictures without one are ignored.
        pairs: Whether replicates are paired.
    """
    by_arm = {arm: [of_part(table, REFERENCE) for table in of] for arm, of in tables.items()}
    rows = []
    for name, places in members_of(tables, group_of).items():
        if len(places) >= LEAST:
            a, b = (
                np.array([losses.true[places].mean() for losses in by_arm[arm]])
                for arm in ("a", "b")
            )
            rows.append(row(name, len(places), a, b, pairs=pairs))
    return rows


def members_of(tables: Tables, group_of: Mapping[str, str]) -> dict[str, list[int]]:
    """Returns group -> indices of its pictures among the reference pictures."""
    members: dict[str, list[int]] = defaultdict(list)
    for place, ident in enumerate(of_part(tables["a"][0], REFERENCE).ids):
        if ident in group_of:
            members[group_of[ident]].append(place)
    return dict(sorted(members.items()))


def changed_most(tables: Tables) -> tuple[list[PictureChange], list[PictureChange]]:
    """Returns the reference pictures whose loss differs most between the arms, up to 100 each.

    Returns:
        Gained (B's loss is lower, the largest difference first), and lost.
    """
    ids, table = picture_differences(tables)
    means = table.mean(axis=0)
    # Ties are broken by id, so that the page has the same bytes each time.
    order = sorted(range(len(ids)), key=lambda place: (means[place], ids[place]))
    every = [PictureChange(ids[place], float(means[place])) for place in order]
    gained = [change for change in every if change.difference < 0][:TOP]
    lost = [change for change in reversed(every) if change.difference > 0][:TOP]
    return gained, lost


def curve(values: Mapping[str, Sequence[Sequence[float]]], tokens: Sequence[int]) -> Curve:
    """Averages a quantity over stretches of training of equally many steps.

    Args:
        values: Arm -> replicate -> one value per step.
        tokens: Image tokens seen up to each step, by an average run.
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
        tuple(tokens[int(end) - 1] for end in ends),
        {arm: tuple(table.mean(axis=0).tolist()) for arm, table in shaped.items()},
        {arm: tuple(table.min(axis=0).tolist()) for arm, table in shaped.items()},
        {arm: tuple(table.max(axis=0).tolist()) for arm, table in shaped.items()},
    )


def row(name: str, pictures: int, a: Numbers, b: Numbers, *, pairs: bool) -> Row:
    """Builds a row; its interval is unbounded if any value is not finite.

    Args:
        name: What is compared.
        pictures: Number of pictures averaged over.
        a: (R,) values of arm A.
        b: (R,) values of arm B.
        pairs: Whether replicates are paired.
    """
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return Row(name, pictures, float(a.mean()), float(b.mean()), -np.inf, np.inf)
    interval = paired(b - a) if pairs else unpaired(a, b)
    return Row(name, pictures, float(a.mean()), float(b.mean()), interval.low, interval.high)

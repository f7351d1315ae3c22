"""From the runs of a comparison to its replicates: the six measures of each, and what lies beneath.

A run leaves `losses.parquet`: a row a picture and bin, of reference pictures (part `reference`)
and of others that tell what is memorised (part `memory`). That is the loss on pictures that were
trained on, minus that on pictures of the same kinds that no arm has seen, both by the same run; and
both arms are read on the same pictures, never each on its own. They are, of those seen as of the
unseen:

| the arms have | pictures |
|---|---|
| 30 or more each that the other has not | as many of each arm's own |
| else | those that both have |

The reference is no match for what was seen: where a set's pictures are all blurred, or noisy, its
own runs find them easier than a clean reference, and have memorised nothing. Which pictures were
chosen is chance as well, since those seen are others than the unseen: `memory_variance`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_model.training.verdict.intervals import Numbers, satterthwaite
from nucleus_model.training.verdict.measures import LossTable, replicate_values

ENOUGH = 30  # pictures of which a mean is told
REFERENCE, MEMORY = "reference", "memory"
SEEN, UNSEEN = "seen", "unseen"


@dataclass(frozen=True)
class Memory:
    """The pictures that tell what is memorised; each run measures all of them.

    Attributes:
        seen: That arms train on.
        unseen: That no arm trains on.
        crossed: Whether half of them are of one arm alone, and half of the other; else both arms
            have all of them.
    """

    seen: tuple[str, ...]
    unseen: tuple[str, ...]
    crossed: bool

    @property
    def ids(self) -> tuple[str, ...]:
        """All of them, in order."""
        return tuple(sorted({*self.seen, *self.unseen}))


def memory_pictures(
    trained: tuple[Sequence[str], Sequence[str]],
    held: tuple[Sequence[str], Sequence[str]],
    reference: Sequence[str],
    most: int,
) -> Memory:
    """Chooses pictures that tell what is memorised.

    Args:
        trained: Ids that arm A, and arm B, trains on, in an order that has nothing to do with what
            they show.
        held: Ids that A, and B, has and no arm trains on, in such an order.
        reference: The reference's, which are taken for the unseen where fewer than 2 are left: of
            sets of some dozen pictures.
        most: How many of those seen, and of the unseen; more where 30 of each arm's own are.

    Raises:
        ValueError: There are too few.
    """
    seen, unseen = ([_own(*of), _own(*of[::-1])] for of in (trained, held))
    if min(map(len, seen)) >= ENOUGH and min(map(len, unseen)):
        of_each = max(ENOUGH, most // 2)
        halves = [[ids[: min(of_each, *map(len, of))] for ids in of] for of in (seen, unseen)]
        one, other = ((*a, *b) for a, b in halves)
        return Memory(one, other, True)
    both = [[i for i in of[0] if i in set(of[1])][:most] for of in (trained, held)]
    if len(both[0]) < 2:
        raise ValueError(
            f"the arms share {len(both[0])} pictures, and have {len(seen[0])} and {len(seen[1])} "
            f"of their own; {ENOUGH} of each arm's own or 2 that both have are needed"
        )
    return Memory(tuple(both[0]), tuple(both[1] if len(both[1]) > 1 else reference), False)


def _own(ids: Sequence[str], others: Sequence[str]) -> list[str]:
    other = set(others)
    return [ident for ident in ids if ident not in other]


def run_table(reference: LossTable, memory: LossTable) -> pa.Table:
    """What a run leaves, as `losses.parquet`."""
    parts = [(REFERENCE, reference), (MEMORY, memory)]
    tables = []
    for name, losses in parts:
        table = losses.to_arrow()
        tables.append(table.add_column(0, "part", pa.array([name] * table.num_rows)))
    return pa.concat_tables(tables)


def of_part(table: pa.Table, part: str | None, ids: Sequence[str] | None = None) -> LossTable:
    """The losses of a part of a run's table.

    Args:
        table: As `run_table` made it.
        part: `reference` or `memory`; None for both: no picture is in both of them.
        ids: Which pictures; None for all. Those that could not be decoded are not there.
    """
    rows = table if part is None else table.filter(pc.equal(table.column("part"), part))
    if ids is not None:
        rows = rows.filter(pc.is_in(rows.column("id"), pa.array(list(ids), pa.string())))
    bins = int(pc.max(rows.column("bin")).as_py()) + 1 if rows.num_rows else 1
    shape = (rows.num_rows // bins, bins)
    columns = [
        rows.column(name).to_numpy().reshape(shape)
        for name in ("sigma", "true", "shuffled", "empty")
    ]
    return LossTable(tuple(rows.column("id").to_pylist()[::bins]), *columns)


def replicates(
    tables: Mapping[str, Sequence[pa.Table]], memory: Memory
) -> dict[str, dict[str, Numbers]]:
    """The six measures of all replicates.

    Args:
        tables: Of arms `a` and `b`: a run's table each, by replicate.
        memory: The pictures that tell what is memorised.

    Returns:
        Arm -> measure -> (R,) values, as `judge` takes them.
    """
    found: dict[str, dict[str, Numbers]] = {}
    for arm, of in tables.items():
        values = [
            replicate_values(
                of_part(table, REFERENCE),
                of_part(table, None, memory.seen).true,
                of_part(table, None, memory.unseen).true,
            )
            for table in of
        ]
        found[arm] = {name: np.array([each[name] for each in values]) for name in values[0]}
    return found


def memory_variance(
    tables: Mapping[str, Sequence[pa.Table]], memory: Memory
) -> tuple[float, float]:
    """What the choice of pictures adds to the variance of B minus A of what is memorised.

    Another choice of as many pictures, of those that were seen and of the unseen, gives another
    difference with the very same runs.

    Returns:
        The variance, and its degrees of freedom (Satterthwaite 1946).
    """
    parts, degrees = [], []
    for ids in (memory.seen, memory.unseen):
        a, b = (
            np.mean([of_part(t, None, ids).true.mean(axis=1) for t in tables[arm]], axis=0)
            for arm in ("a", "b")
        )
        parts.append(float(np.var(b - a, ddof=1)) / len(a))
        degrees.append(len(a) - 1)
    return sum(parts), satterthwaite(parts, degrees)


def picture_differences(tables: Mapping[str, Sequence[pa.Table]]) -> tuple[list[str], Numbers]:
    """How much more each reference picture costs B than A, by replicate.

    Returns:
        N ids, and (R, N) differences of the loss with true captions, B minus A, mean over bins;
        R is the smaller number of replicates.
    """
    one, other = ([of_part(table, REFERENCE) for table in tables[arm]] for arm in ("a", "b"))
    table = [y.true.mean(axis=1) - x.true.mean(axis=1) for x, y in zip(one, other, strict=False)]
    return list(one[0].ids), np.array(table)

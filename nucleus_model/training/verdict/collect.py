"""Turns the losses of a comparison's runs into replicates: the six measures of each run.

A run leaves `losses.parquet`, with one row per picture and noise bin: of the reference pictures
(part `reference`), and of the pictures that measure memorisation (part `memory`). Memorisation is a
run's loss on pictures that were trained on, minus its loss on similar pictures that no arm has
seen. Both arms are evaluated on the same pictures. Seen and unseen ones are chosen alike:

| the arms have | pictures |
|---|---|
| 30 or more pictures each that the other lacks | equally many from each arm alone |
| fewer | those that both arms have |

The reference can't replace the unseen pictures: if all pictures of a set are blurred, say, its runs
have a lower loss on them than on a clean reference without having memorised any. As the seen and
the unseen are different pictures, their choice adds to the variance: `memory_variance`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_model.training.verdict.intervals import Numbers, satterthwaite
from nucleus_model.training.verdict.measures import LossTable, replicate_values

ENOUGH = 30  # minimum number of pictures for a mean
REFERENCE, MEMORY = "reference", "memory"
SEEN, UNSEEN = "seen", "unseen"


@dataclass(frozen=True)
class Memory:
    """The pictures that measure memorisation; each run is evaluated on all of them.

    Attributes:
        seen: Ids that the arms train on.
        unseen: Ids that no arm trains on.
        crossed: Whether half of the pictures are in arm A alone, and half in arm B alone;
            otherwise both arms have all of them.
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
    """Chooses the pictures that measure memorisation.

    Args:
        trained: Ids that arm A, and arm B, trains on, in an order independent of the pictures.
        held: Ids that arm A, and arm B, has and that no arm trains on, in such an order.
        reference: Ids of the reference, used as unseen pictures if fewer than 2 are left, as with
            sets of a few dozen pictures.
        most: Maximum number of seen, and of unseen, pictures; exceeded if that is needed for 30
            from each arm.

    Raises:
        ValueError: There are too few pictures.
    """
    seen, unseen = ([_own(*of), _own(*of[::-1])] for of in (trained, held))
    if min(map(len, seen)) >= ENOUGH and min(map(len, unseen)):
        of_each = max(ENOUGH, most // 2)
        halves = [[ids[: min(of_each, *map(len, of))] for ids in of] for of in (seen, unseen)]
        seen_ids, unseen_ids = ((*a, *b) for a, b in halves)
        return Memory(seen_ids, unseen_ids, True)
    both = [_shared(*of)[:most] for of in (trained, held)]
    if len(both[0]) < 2:
        raise ValueError(
            f"the arms share {len(both[0])} pictures, and have {len(seen[0])} and {len(seen[1])} "
            f"of their own; at least 2 shared pictures, or {ENOUGH} of each arm's own, are needed"
        )
    return Memory(tuple(both[0]), tuple(both[1] if len(both[1]) > 1 else reference), False)


def _own(ids: Sequence[str], others: Sequence[str]) -> list[str]:
    other = set(others)
    return [ident for ident in ids if ident not in other]


def _shared(ids: Sequence[str], others: Sequence[str]) -> list[str]:
    other = set(others)
    return [ident for ident in ids if ident in other]


def run_table(reference: LossTable, memory: LossTable) -> pa.Table:
    """Returns the content of a run's `losses.parquet`."""
    parts = [(REFERENCE, reference), (MEMORY, memory)]
    tables = []
    for name, losses in parts:
        table = losses.to_arrow()
        tables.append(table.add_column(0, "part", pa.array([name] * table.num_rows)))
    return pa.concat_tables(tables)


def of_part(table: pa.Table, part: str | None, ids: Sequence[str] | None = None) -> LossTable:
    """Returns the losses of one part of a run's table.

    Args:
        table: A table from `run_table`.
        part: `reference` or `memory`, which are disjoint; None for both.
        ids: Which pictures; None for all. Pictures that could not be decoded are missing.
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
    """Computes the six measures of all replicates.

    Args:
        tables: For arms `a` and `b`, the table of each run, by replicate.
        memory: The pictures that measure memorisation.

    Returns:
        Arm -> measure -> (R,) values, as `judge` takes them.
    """
    by_arm: dict[str, dict[str, Numbers]] = {}
    for arm, of in tables.items():
        values = [
            replicate_values(
                of_part(table, REFERENCE),
                of_part(table, None, memory.seen).true,
                of_part(table, None, memory.unseen).true,
            )
            for table in of
        ]
        by_arm[arm] = {name: np.array([run[name] for run in values]) for name in values[0]}
    return by_arm


def memory_variance(
    tables: Mapping[str, Sequence[pa.Table]], memory: Memory
) -> tuple[float, float]:
    """Computes the variance of `memorised`, B minus A, due to the choice of pictures.

    With other seen and unseen pictures, the same runs would give another difference.

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
    """Computes each reference picture's loss under B minus its loss under A, by replicate.

    Returns:
        N ids, and (R, N) differences of the loss with true captions, B minus A, mean over bins;
        R is the smaller number of replicates.
    """
    a, b = ([of_part(table, REFERENCE) for table in tables[arm]] for arm in ("a", "b"))
    table = [y.true.mean(axis=1) - x.true.mean(axis=1) for x, y in zip(a, b, strict=False)]
    return list(a[0].ids), np.array(table)

"""From the runs of a comparison to its replicates: the six measures of each, and what lies beneath.

A run leaves `losses.parquet`: a row a picture and bin, of reference pictures (part `reference`) and
of pictures that an arm was trained on (part `trained`). What is memorised is read on the same
pictures, never as two sets' means:

| pictures | a replicate's measure |
|---|---|
| 30 or more of each arm that the other has not | their loss by its own run, minus the other's |
| else, those that both have | their loss minus the reference's, both by this run |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_model.training.verdict.intervals import Numbers
from nucleus_model.training.verdict.measures import LossTable, replicate_values

ENOUGH = 30  # pictures of which a mean is told
REFERENCE, TRAINED = "reference", "trained"


@dataclass(frozen=True)
class Trained:
    """The pictures that tell what is memorised; each run measures all of them.

    Attributes:
        a, b: What arm A's, and arm B's, own losses are read on.
        crossed: Whether these are pictures that the other arm has not; else they are the same.
    """

    a: tuple[str, ...]
    b: tuple[str, ...]
    crossed: bool

    @property
    def ids(self) -> tuple[str, ...]:
        """All of them, in order."""
        return tuple(sorted({*self.a, *self.b}))

    def of(self, arm: str) -> tuple[str, ...]:
        """Those of an arm, `a` or `b`."""
        return self.a if arm == "a" else self.b


def trained_pictures(a: Sequence[str], b: Sequence[str], most: int) -> Trained:
    """Chooses pictures that tell what is memorised.

    Args:
        a: Ids that arm A trains on, in an order that has nothing to do with what they show.
        b: Those of arm B.
        most: How many of each arm, the first ones.

    Raises:
        ValueError: There are too few that both have, and too few of one alone.
    """
    one, other = set(a), set(b)
    own = [tuple(i for i in ids if i not in of)[:most] for ids, of in ((a, other), (b, one))]
    if min(map(len, own)) >= ENOUGH:
        return Trained(own[0], own[1], True)
    both = tuple(i for i in a if i in other)[:most]
    if len(both) < 2:
        raise ValueError(
            f"the arms share {len(both)} pictures, and have {len(own[0])} and {len(own[1])} of "
            f"their own; {ENOUGH} of each arm's own or 2 that both have are needed"
        )
    return Trained(both, both, False)


def run_table(reference: LossTable, trained: LossTable) -> pa.Table:
    """What a run leaves, as `losses.parquet`."""
    parts = [(REFERENCE, reference), (TRAINED, trained)]
    tables = []
    for name, losses in parts:
        table = losses.to_arrow()
        tables.append(table.add_column(0, "part", pa.array([name] * table.num_rows)))
    return pa.concat_tables(tables)


def of_part(table: pa.Table, part: str, ids: Sequence[str] | None = None) -> LossTable:
    """The losses of a part of a run's table.

    Args:
        table: As `run_table` made it.
        part: `reference` or `trained`.
        ids: Which pictures; None for all. Those that could not be decoded are not there.
    """
    rows = table.filter(pc.equal(table.column("part"), part))
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
    tables: Mapping[str, Sequence[pa.Table]], trained: Trained
) -> dict[str, dict[str, Numbers]]:
    """The six measures of all replicates.

    Args:
        tables: Of arms `a` and `b`: a run's table each, by replicate.
        trained: The pictures that tell what is memorised.

    Returns:
        Arm -> measure -> (R,) values, as `judge` takes them.
    """
    found: dict[str, dict[str, Numbers]] = {}
    for arm, of in tables.items():
        values = []
        for number, table in enumerate(of):
            reference = of_part(table, REFERENCE)
            own = of_part(table, TRAINED, trained.of(arm)).true
            other = reference.true
            if trained.crossed:
                rival = tables["b" if arm == "a" else "a"][number]
                other = of_part(rival, TRAINED, trained.of(arm)).true
            values.append(replicate_values(reference, own, other))
        found[arm] = {name: np.array([each[name] for each in values]) for name in values[0]}
    return found


def picture_differences(tables: Mapping[str, Sequence[pa.Table]]) -> tuple[list[str], Numbers]:
    """How much more each reference picture costs B than A, by replicate.

    Returns:
        N ids, and (R, N) differences of the loss with true captions, B minus A, mean over bins;
        R is the smaller number of replicates.
    """
    one, other = ([of_part(table, REFERENCE) for table in tables[arm]] for arm in ("a", "b"))
    table = [y.true.mean(axis=1) - x.true.mean(axis=1) for x, y in zip(one, other, strict=False)]
    return list(one[0].ids), np.array(table)

"""The largest clusters of duplicates: the survivor, and some of the records dropped for it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from nucleus_data.pages.queries import DECISION, Decision, decision, marks
from nucleus_data.pages.survivors import largest_clusters
from nucleus_data.pages.tables import Rows, Tables


@dataclass(frozen=True)
class Member:
    """A dropped duplicate, and its distances from the survivor; None if no such pair is known."""

    decision: Decision
    distance: int | None
    distance256: int | None
    exact: bool


@dataclass(frozen=True)
class Cluster:
    """A kept record and the records dropped for it.

    Attributes:
        kept: The survivor; None if the selection does not have it.
        size: Number of records that were dropped for it.
        members: Some of these, the first by id.
    """

    kept: Decision | None
    size: int
    members: Sequence[Member] = field(default_factory=list)


def clusters(tables: Tables, limit: int, members: int) -> tuple[int, list[Cluster]]:
    """Returns the number of clusters, and the largest ones with their first members.

    Args:
        tables: The run's tables.
        limit: Most clusters that are returned.
        members: Most members of a cluster.
    """
    total, sizes = largest_clusters(tables, limit)
    if not sizes:
        return total, []
    first: dict[str, Rows] = {name: [] for name in sizes}
    survivors: dict[str, Decision] = {}
    for lost, kept in tables.each(_members, [*sizes], members):
        survivors |= {row[2]: decision(tuple(row)) for row in kept}
        for row in lost:
            first[row[6]].append(row)
        for name, rows in first.items():
            first[name] = sorted(rows, key=lambda row: row[2])[:members]
    dropped = [decision(tuple(row)) for rows in first.values() for row in rows]
    distances = _distances(tables, [*sizes, *(d.id for d in dropped)])
    return total, [
        Cluster(
            survivors.get(kept),
            size,
            [
                Member(d, *distances.get(frozenset((kept, d.id)), (None, None, False)))
                for d in dropped
                if d.duplicate_of == kept
            ],
        )
        for kept, size in sizes.items()
    ]


def _members(tables: Tables, names: Sequence[str], members: int) -> tuple[Rows, Rows]:
    """Returns the first records that were dropped for some survivors, and these survivors."""
    if "selection" not in tables:
        return [], []
    selection = tables.sql("selection")
    dropped = tables.rows(
        f"select {DECISION} from {selection} "
        f"where state = 'duplicate' and duplicate_of in {marks(names)} "
        "qualify row_number() over (partition by duplicate_of order by id) <= ?",
        [*names, members],
    )
    kept = tables.rows(
        f"select {DECISION} from {selection} where state = 'kept' and id in {marks(names)}",
        list(names),
    )
    return [*dropped], [*kept]


def _distances(
    tables: Tables, ids: Sequence[str]
) -> dict[frozenset[str], tuple[int | None, int | None, bool]]:
    """Returns pair of ids -> distances of both hashes in bits, and whether the files are equal."""
    distances: dict[frozenset[str], tuple[int | None, int | None, bool]] = {}
    for rows in tables.each(_pairs, ids):
        for one, other, near, far, exact in rows:
            distances[frozenset((one, other))] = near, far, bool(exact)
    return distances


def _pairs(tables: Tables, ids: Sequence[str]) -> Rows:
    if "dedup" not in tables:
        return []
    some: Any = marks(ids)
    return [
        *tables.rows(
            "select id, other_id, min(distance), min(distance256), bool_or(exact) "
            f"from {tables.sql('dedup')} where id in {some} and other_id in {some} group by all",
            [*ids, *ids],
        )
    ]

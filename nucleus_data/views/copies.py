"""Clusters of records that are copies of each other, by the pairs that `dedup` found."""

from collections.abc import Iterable

import pyarrow as pa

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import Table
from nucleus_data.errors import RequestError
from nucleus_data.runner.run import Run
from nucleus_data.stages.dedup.stage import TABLE, Dedup


def pairs_found(run: Run, dedup: Dedup, asker: str) -> Table | None:
    """Returns the current table of pairs; if there is none, says why and returns None."""
    try:
        pins = dedup.found(run, asker)
    except RequestError as error:
        run.say(f"duplicates are counted as different pictures: {error}")
        return None
    return run.corpus.at(TABLE, pins[TABLE])


class DisjointSets:
    """Union-find over texts; the least member of a set stands for it.

    Args:
        members: Each of them starts in a set of its own.
    """

    def __init__(self, members: Iterable[str] = ()) -> None:
        self._parents = {member: member for member in members}

    def members(self) -> set[str]:
        """Returns the members of all sets."""
        return set(self._parents)

    def find(self, member: str) -> str:
        """Returns the least member of a member's set, which is added if it is new."""
        parents = self._parents
        parents.setdefault(member, member)
        while parents[member] != member:
            parents[member] = parents[parents[member]]  # path halving
            member = parents[member]
        return member

    def union(self, one: str, other: str) -> None:
        """Joins the sets of two members."""
        least, most = sorted((self.find(one), self.find(other)))
        self._parents[most] = least


def clusters(corpus: Corpus, pairs: Table | None, ids: Iterable[str]) -> dict[str, str]:
    """Returns id -> the least id of its cluster of copies, for some records.

    Clusters are the connected components of the graph of pairs, which may lead through records that
    are not among `ids`.

    Args:
        corpus: The corpus.
        pairs: The table of pairs; if it is None or has no parts, each record is its own cluster.
        ids: The records.
    """
    asked = list(ids)
    sets = DisjointSets(asked)
    # A breadth-first search: each round follows the pairs of the records found in the last one.
    frontier = sorted({*asked}) if pairs is not None and pairs.whole_parts() else []
    connection = corpus.connection()
    while frontier and pairs is not None:
        connection.register("frontier", pa.table({"id": pa.array(frontier, pa.string())}))
        try:
            found = connection.execute(
                f"select id, other_id from {pairs.sql()} "
                "where id in (select id from frontier) or other_id in (select id from frontier)"
            ).fetchall()
        finally:
            connection.unregister("frontier")
        known = sets.members()
        for one, other in found:
            sets.union(one, other)
        frontier = sorted(sets.members() - known)
    return {ident: sets.find(ident) for ident in asked}

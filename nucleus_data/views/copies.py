"""Which of some records are copies of each other, over the pairs that `dedup` found."""

from collections.abc import Iterable

import pyarrow as pa

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import Table
from nucleus_data.errors import RequestError
from nucleus_data.runner.run import Run
from nucleus_data.stages.dedup.stage import TABLE, Dedup


def pairs_found(run: Run, dedup: Dedup, asker: str) -> Table | None:
    """The table of pairs of the tables as they are now; None, and why is said, without one."""
    try:
        pins = dedup.found(run, asker)
    except RequestError as error:
        run.say(f"copies are not told apart: {error}")
        return None
    return run.corpus.at(TABLE, pins[TABLE])


def clusters(corpus: Corpus, pairs: Table | None, ids: Iterable[str]) -> dict[str, str]:
    """Id -> the least id of its cluster, for some records.

    Two are in one cluster where a chain of pairs leads from one to the other, through records of
    any kind.

    Args:
        corpus: The corpus.
        pairs: The table of pairs; None or without parts, each record is alone.
        ids: The records.
    """
    asked = list(ids)
    parents: dict[str, str] = {ident: ident for ident in asked}

    def root(ident: str) -> str:
        while parents[ident] != ident:
            parents[ident] = parents[parents[ident]]
            ident = parents[ident]
        return ident

    edge = sorted(parents) if pairs is not None and pairs.whole_parts() else []
    connection = corpus.connection()
    while edge and pairs is not None:
        connection.register("edge", pa.table({"id": pa.array(edge, pa.string())}))
        try:
            found = connection.execute(
                f"select id, other_id from {pairs.sql()} "
                "where id in (select id from edge) or other_id in (select id from edge)"
            ).fetchall()
        finally:
            connection.unregister("edge")
        known = set(parents)
        for one, other in found:
            for ident in (one, other):
                parents.setdefault(ident, ident)
            least, most = sorted((root(one), root(other)))
            parents[most] = least
        edge = sorted(set(parents) - known)
    return {ident: root(ident) for ident in asked}

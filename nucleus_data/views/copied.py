"""Clusters of copies among the pictures of compared training sets, from their corpora.

A claim about recipes draws whole clusters, so that copies of a picture come and go together.
"""

from collections.abc import Iterable, Sequence

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import Table
from nucleus_data.sets.layout import SetFolder
from nucleus_data.stages.dedup.stage import TABLE as PAIRS
from nucleus_data.views.copies import DisjointSets, clusters
from nucleus_data.views.sides import Side


def clusters_of(sides: Sequence[Side]) -> tuple[dict[str, str], list[str]]:
    """Returns id -> cluster of copies, for the pictures of all sides that have a table of pairs.

    Two pictures are copies if any side's pairs say so, since all sides are drawn alike.

    Returns:
        The clusters, and a note for people about each side that has no pairs.
    """
    found: dict[str, str] = {}
    for uri in dict.fromkeys(side.corpus for side in sides if side.corpus):
        mine = [side for side in sides if side.corpus == uri]
        corpus = Corpus(uri, mine[0].arm.storage_options)
        ids = sorted({ident for side in mine for ident in ids_of(side.folder)})
        tables = dict.fromkeys(side.pairs for side in mine if side.pairs)
        clusterings = [clusters(corpus, Table(corpus.store, PAIRS, name), ids) for name in tables]
        if clusterings:
            found |= joined(clusterings)
    notes = [
        f"{side.arm.name or side.arm.folder}: {why}, so each of its pictures counts as its own "
        "cluster of copies"
        for side in sides
        if (why := _alone(side))
    ]
    return found, list(dict.fromkeys(notes))


def joined(clusterings: Sequence[dict[str, str]]) -> dict[str, str]:
    """Returns the finest clustering that keeps together what any of several does.

    Args:
        clusterings: Id -> name of its cluster, an id; all of the same ids.
    """
    if len(clusterings) == 1:
        return clusterings[0]
    sets = DisjointSets()
    for found in clusterings:
        for ident, cluster in found.items():
            sets.union(ident, cluster)
    return {ident: sets.find(ident) for ident in clusterings[0]}


def ids_of(folder: SetFolder) -> Iterable[str]:
    """Ids of a set's samples, from its indexes."""
    for tar in folder.manifest():
        yield from folder.index(tar.path).column("id").to_pylist()


def _alone(side: Side) -> str:
    if not side.corpus:
        return "this set is not in a corpus"
    return "" if side.pairs else f"{side.corpus} has no table of duplicates (nucleus dedup)"

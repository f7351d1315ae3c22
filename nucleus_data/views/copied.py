"""Which pictures of the compared sets are copies of each other, as their corpora know it.

A claim about recipes draws whole clusters of copies: pictures that come and go together.
"""

from collections.abc import Iterable, Sequence

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import Table
from nucleus_data.sets.layout import SetFolder
from nucleus_data.stages.dedup.stage import TABLE as PAIRS
from nucleus_data.views.copies import clusters
from nucleus_data.views.sides import Side


def clusters_of(sides: Sequence[Side]) -> tuple[dict[str, str], list[str]]:
    """Id -> cluster of copies, of all pictures of some sides whose corpora tell.

    Copies by any side's pairs are copies: the sides are drawn alike.

    Returns:
        The clusters, and what people should know of those sides that have none.
    """
    found: dict[str, str] = {}
    for uri in dict.fromkeys(side.corpus for side in sides if side.corpus):
        mine = [side for side in sides if side.corpus == uri]
        corpus = Corpus(uri, mine[0].arm.storage_options)
        ids = sorted({ident for side in mine for ident in ids_of(side.folder)})
        tables = dict.fromkeys(side.pairs for side in mine if side.pairs)
        each = [clusters(corpus, Table(corpus.store, PAIRS, name), ids) for name in tables]
        if each:
            found |= joined(each)
    notes = [
        f"{side.arm.name or side.arm.folder}: {why}: each of its pictures counts as its own "
        "cluster of copies"
        for side in sides
        if (why := _alone(side))
    ]
    return found, list(dict.fromkeys(notes))


def joined(each: Sequence[dict[str, str]]) -> dict[str, str]:
    """Clusters that hold together what any of several clusterings of the same ids does."""
    if len(each) == 1:
        return each[0]
    parents: dict[str, str] = {}

    def root(name: str) -> str:
        while parents.setdefault(name, name) != name:
            parents[name] = parents[parents[name]]
            name = parents[name]
        return name

    for found in each:
        for ident, cluster in found.items():
            least, most = sorted((root(ident), root(cluster)))
            parents[most] = least
    return {ident: root(ident) for ident in each[0]}


def ids_of(folder: SetFolder) -> Iterable[str]:
    """Ids of a set's samples, from its indexes."""
    for tar in folder.manifest():
        yield from folder.index(tar.path).column("id").to_pylist()


def _alone(side: Side) -> str:
    if not side.corpus:
        return "this set lies in no corpus"
    return "" if side.pairs else f"{side.corpus} has no table of duplicates (nucleus dedup)"

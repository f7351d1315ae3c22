"""Connected components of a graph that no process can hold, by two alternating steps.

Each step handles the neighbours of one node at a time, so the edges can be dealt by node to any
number of tasks. It replaces edges by others that connect the same components, until every component
is a star around its smallest node (Kiveris et al., "Connected Components in MapReduce and Beyond",
2014). This takes at most about log2(N)^2 rounds for N nodes, and few if components are almost stars
at the beginning, as those of duplicates are.

An edge is a `LINK` (node, other); E edges are an array of them.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nucleus_data.corpus.shuffle import Rows
from nucleus_data.stages.dedup.rows import places_of

LINK = np.dtype([("node", "<u8"), ("other", "<u8")])
# Nodes from here on are records of other corpora; they are above all places of own records.
FOREIGN = np.uint64(1 << 63)
Nodes = NDArray[np.uint64]


def edges_of(pairs: pa.Table) -> Rows:
    """Converts pairs of the table `dedup` to edges, at their first record.

    The node of a record is its place, or, if it is of another corpus, half of its id. If two of
    those happen to have the same number, their components are merged, which does no harm. Rows that
    join a record to itself (the first one of a crowd) are left out.
    """
    shard, row = (pairs[name].fill_null(0).to_numpy() for name in ("other_shard", "other_row"))
    other = shard.astype(np.uint64) << np.uint64(32) | row.astype(np.uint64)
    foreign = pairs["other_shard"].is_null().to_numpy()
    halves = "".join(ident[-16:] for ident in pairs["other_id"].filter(foreign).to_pylist())
    other[foreign] = np.frombuffer(bytes.fromhex(halves), "<u8") | FOREIGN
    node = places_of(pairs).astype(np.uint64)
    joins = node != other
    return links(node[joins], other[joins])


def links(node: Nodes, other: Nodes) -> Rows:
    """Makes sorted, distinct `LINK` rows from nodes and their neighbours, uint64[E] each."""
    rows = np.empty(len(node), LINK)
    rows["node"], rows["other"] = node, other
    rows = rows[np.lexsort((other, node))]
    fresh = np.ones(len(rows), bool)
    fresh[1:] = rows[1:] != rows[:-1]
    return rows[fresh]


def both_ways(edges: Rows) -> Rows:
    """Returns each edge at both of its nodes."""
    node, other = edges["node"], edges["other"]
    return links(np.concatenate([node, other]), np.concatenate([other, node]))


def joined_above(edges: Rows) -> tuple[Rows, int]:
    """The large-star step: links all larger neighbours of a node to its smallest neighbour.

    Args:
        edges: Edges from `links`, with all neighbours of each node in them.

    Returns:
        The new edges, at their larger node; and the number of unsettled nodes, which have a smaller
        neighbour and others besides, so that they are not in a star around the smallest node of
        their component yet. If it is 0 over the whole graph, the graph was finished before the
        step.
    """
    node, other = edges["node"], edges["other"]
    starts, counts, least = _least(edges)
    unsettled = np.count_nonzero((counts > 1) & (least < node[starts]))
    centre = np.repeat(np.minimum(least, node[starts]), counts)
    above = other > node
    return links(other[above], centre[above]), int(unsettled)


def joined_below(edges: Rows) -> Rows:
    """The small-star step: links a node and its smaller neighbours to the smallest of these.

    Args:
        edges: Edges from `links`, with all smaller neighbours of each node in them, and no others.

    Returns:
        The new edges, at both of their nodes.
    """
    starts, counts, least = _least(edges)
    centre = np.repeat(least, counts)
    rest = edges["other"] != centre
    node = np.concatenate([edges["node"][starts], edges["other"][rest]])
    return both_ways(links(node, np.concatenate([least, centre[rest]])))


def centres(edges: Rows) -> tuple[Nodes, Nodes]:
    """Returns the nodes of stars, uint64[N], and the centre of each, once no node is unsettled.

    Args:
        edges: Edges from `links`, with all neighbours of each node in them.
    """
    starts, _, least = _least(edges)
    node = edges["node"][starts]
    return node, np.minimum(node, least)


def _least(edges: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64], Nodes]:
    """Returns for each node where its edges begin, their number, and its smallest neighbour."""
    node = edges["node"]
    fresh = np.ones(len(node), bool)
    fresh[1:] = node[1:] != node[:-1]
    starts = np.flatnonzero(fresh)
    counts = np.diff(np.append(starts, len(node)))
    # The neighbours of a node are ascending.
    return starts, counts, edges["other"][starts]

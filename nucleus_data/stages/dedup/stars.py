"""Which nodes of a graph hang together, where no process holds the graph: two steps, in turns.

Each step looks at one node's neighbours at a time, so the edges may be dealt by node to any number
of tasks. It makes from the edges others that connect the same nodes, until every component is a
star around its smallest node. Kiveris et al., "Connected Components in MapReduce and Beyond", 2014:
at most about log2(N)^2 turns for N nodes, and few for what is almost stars, as duplicates are.

An edge is a `LINK` (node, other); E edges are an array of them.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nucleus_data.corpus.shuffle import Rows
from nucleus_data.stages.dedup.rows import places_of

LINK = np.dtype([("node", "<u8"), ("other", "<u8")])
# Nodes above all places of own records.
FOREIGN = np.uint64(1 << 63)
Nodes = NDArray[np.uint64]


def edges_of(pairs: pa.Table) -> Rows:
    """Pairs of the table `dedup` as edges, at their first record.

    A node is a record's place; or, of another corpus, half of its id. Two of those may have one
    number, which only makes one component of theirs.
    """
    shard, row = (pairs[name].fill_null(0).to_numpy() for name in ("other_shard", "other_row"))
    other = shard.astype(np.uint64) << np.uint64(32) | row.astype(np.uint64)
    foreign = pairs["other_shard"].is_null().to_numpy()
    halves = "".join(ident[-16:] for ident in pairs["other_id"].filter(foreign).to_pylist())
    other[foreign] = np.frombuffer(bytes.fromhex(halves), "<u8") | FOREIGN
    return links(places_of(pairs).astype(np.uint64), other)


def links(node: Nodes, other: Nodes) -> Rows:
    """`LINK` rows, each once, by node and then by its neighbour; uint64[E] each."""
    found = np.empty(len(node), LINK)
    found["node"], found["other"] = node, other
    found = found[np.lexsort((other, node))]
    fresh = np.ones(len(found), bool)
    fresh[1:] = found[1:] != found[:-1]
    return found[fresh]


def both_ways(edges: Rows) -> Rows:
    """Each edge at both of its nodes."""
    node, other = edges["node"], edges["other"]
    return links(np.concatenate([node, other]), np.concatenate([other, node]))


def joined_above(edges: Rows) -> tuple[Rows, int]:
    """The step of large stars: all neighbours above a node hang on its smallest neighbour.

    Args:
        edges: From `links`, with all neighbours of the nodes that it has.

    Returns:
        The new edges, at their larger node; and how many nodes are not yet in a star around the
        smallest of their component, as they have a smaller neighbour and others besides. Where this
        is 0 for all nodes of a graph, the graph was finished before the step.
    """
    node, other = edges["node"], edges["other"]
    starts, counts, least = _least(edges)
    unsettled = np.count_nonzero((counts > 1) & (least < node[starts]))
    centre = np.repeat(np.minimum(least, node[starts]), counts)
    above = other > node
    return links(other[above], centre[above]), int(unsettled)


def joined_below(edges: Rows) -> Rows:
    """The step of small stars: a node, and its neighbours below it, hang on the smallest of these.

    Args:
        edges: From `links`, with all smaller neighbours of the nodes that it has, and no others.

    Returns:
        The new edges, at both of their nodes.
    """
    starts, counts, least = _least(edges)
    centre = np.repeat(least, counts)
    rest = edges["other"] != centre
    node = np.concatenate([edges["node"][starts], edges["other"][rest]])
    return both_ways(links(node, np.concatenate([least, centre[rest]])))


def centres(edges: Rows) -> tuple[Nodes, Nodes]:
    """The nodes of stars, uint64[N], and the centre of each, once no node is unsettled.

    Args:
        edges: From `links`, with all neighbours of the nodes that it has.
    """
    starts, _, least = _least(edges)
    node = edges["node"][starts]
    return node, np.minimum(node, least)


def _least(edges: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64], Nodes]:
    """Where each node's edges begin, how many they are, and its smallest neighbour."""
    node = edges["node"]
    fresh = np.ones(len(node), bool)
    fresh[1:] = node[1:] != node[:-1]
    starts = np.flatnonzero(fresh)
    counts = np.diff(np.append(starts, len(node)))
    # Neighbours rise within a node.
    return starts, counts, edges["other"][starts]

"""The survivor walk, which decides which of several duplicates stays.

Records are visited in the order of preference, best first. A record is dropped only if one of its
duplicates is *kept*: with A ~ B ~ C, where B was dropped for A, C stays unless C ~ A. Records that
the rules rejected do not take part, so they displace no others.

All members of a class (see the package's docstring) have the same duplicates, so the best eligible
one decides for all of them. The walk therefore visits classes: a million copies of one picture are
one step. Pairs of two members of a crowd (see `crowds`) may not be in the table. When such a
picture is kept, its hashes are compared with those of the other members (`crowd_walk`).
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nucleus_data.stages.dedup.codes import Indices
from nucleus_data.stages.dedup.crowd_walk import Crowded, CrowdWalk
from nucleus_data.stages.dedup.settings import DedupSettings

KEPT = -1


def walk(
    ids: pa.ChunkedArray,
    eligible: NDArray[np.bool_],
    rank: Indices,
    pairs: pa.Table,
    settings: DedupSettings | None = None,
) -> pa.Array:
    """Finds for each record the kept record that it is dropped for.

    Args:
        ids: Record ids, N strings, each once, in any order.
        eligible: Whether the rules keep the record, bool[N].
        rank: Rank in the order of preference, best first, int64[N]; 0 or more, and different for
            all eligible records.
        pairs: The table `dedup` (schema `nucleus_data.stages.dedup.rows.PAIRS`, with or without
            `CROWD_FIELDS`). Records that are in it but not in `ids` can't be kept, but still
            connect the members of their class. Records of other corpora (without `other_shard`) are
            all kept, and rank before all others.
        settings: The settings that the table was made with, which members of crowds are compared
            by; the defaults if None.

    Returns:
        N strings: the id of the best kept duplicate, with the corpus's name before it if it is of
        another corpus; null for records that are kept, and for ineligible ones.

    Raises:
        ValueError: An id or the rank of an eligible record occurs twice, or the lengths differ.
    """
    ids, first, second = (
        column.cast(pa.string()) for column in (ids, pairs["id"], pairs["other_id"])
    )
    # `unique` keeps the order, so the first N are `ids`.
    named = pc.unique(pa.chunked_array([*ids.chunks, *first.chunks, *second.chunks], pa.string()))
    if pc.count_distinct(ids).as_py() != len(ids):
        raise ValueError(f"ids must be distinct, got {len(ids)} with repetitions")
    if not len(ids) == len(eligible) == len(rank):
        raise ValueError(
            "ids, eligible and rank must have one length, "
            f"got {len(ids)}, {len(eligible)} and {len(rank)}"
        )
    strangers = len(named) - len(ids)
    elsewhere = pc.unique(second.filter(pairs["other_shard"].is_null())).sort()
    foreign = np.zeros(len(named), dtype=bool)
    foreign[pc.index_in(elsewhere, value_set=named).to_numpy()] = True
    ranks = np.append(rank, np.zeros(strangers, dtype=np.int64))
    # Negative ranks, before those of all own records.
    ranks[pc.index_in(elsewhere, value_set=named).to_numpy()] = np.arange(-len(elsewhere), 0)
    one, other = (pc.index_in(end, value_set=named).to_numpy() for end in (first, second))
    listed = pairs["distance"].is_null().to_numpy()
    members = pairs.filter(pairs["distance"].is_null())
    pairs = pairs.filter(pairs["distance"].is_valid())
    differences = (pairs["distance"], pairs["distance256"], pairs["aspect_difference"])
    equal = np.logical_and.reduce([column.to_numpy() == 0 for column in differences])
    places = survivors(
        np.append(eligible, np.zeros(strangers, dtype=bool)) | foreign,
        ranks,
        one[~listed],
        other[~listed],
        pairs["exact"].to_numpy() | equal,
        foreign,
        _crowded(members, one[listed], other[listed], len(named)) if listed.any() else None,
        settings or DedupSettings(),
    )[: len(ids)]
    return named.take(pa.array(places, mask=places == KEPT))


def _crowded(members: pa.Table, first: Indices, node: Indices, count: int) -> Crowded:
    """Converts rows that list members of crowds.

    Args:
        members: The rows.
        first: Place of the first record of each one's crowd, int64[N].
        node: Place of each one, int64[N].
        count: Number of places.
    """
    # A picture may be in crowds of several blocks, which are one crowd then.
    crowd = components(count, first, node)
    node, at = np.unique(node, return_index=True)
    members = members.take(pa.array(at))
    hashes = members["other_hash256"].combine_chunks().to_pylist()
    sizes = [members[f"other_{side}"].to_numpy() for side in ("width", "height")]
    return Crowded(
        node,
        crowd[node],
        members["other_phash"].to_numpy(),
        np.frombuffer(b"".join(hashes), np.uint64).reshape(-1, 4),
        np.stack(sizes, axis=1).astype(np.int64),
    )


def survivors(
    eligible: NDArray[np.bool_],
    rank: Indices,
    first: Indices,
    second: Indices,
    same_class: NDArray[np.bool_],
    protected: NDArray[np.bool_] | None = None,
    crowded: Crowded | None = None,
    settings: DedupSettings | None = None,
) -> Indices:
    """Walks over records that are given by their places 0 to N - 1.

    Args:
        eligible: Whether a record can be kept, bool[N].
        rank: Rank in the order of preference, best first, int64[N]; different for all eligible
            records.
        first: The first record of each pair, int[E].
        second: The second record of each pair, int[E].
        same_class: Whether the pair joins members of one class, bool[E]; otherwise it joins their
            whole classes.
        protected: Records that are not dropped for one another, bool[N]; they must be eligible, and
            ranked before all others.
        crowded: Members of crowds, each of another class.
        settings: What counts as near in crowds; the defaults if None.

    Returns:
        int64[N]: the place of the best kept duplicate; -1 for records that are kept, and for
        ineligible ones.

    Raises:
        ValueError: Two eligible records have the same rank.
    """
    best_first = np.flatnonzero(eligible)
    best_first = best_first[np.argsort(rank[best_first], kind="stable")]
    if (np.diff(rank[best_first]) == 0).any():
        raise ValueError("rank must order the eligible records, got two with the same rank")

    # A class is represented by its best eligible member, its leader.
    group = components(len(eligible), first[same_class], second[same_class])
    groups, at = np.unique(group[best_first], return_index=True)
    leader = np.full(len(eligible), -1, dtype=np.int64)
    leader[groups] = best_first[at]

    one, other = leader[group[first[~same_class]]], leader[group[second[~same_class]]]
    between = (one >= 0) & (other >= 0) & (one != other)
    if protected is not None:
        between &= ~(protected[one] & protected[other])
    crowds = None
    if crowded is not None:
        here = leader[group[crowded.node]]
        crowded = crowded.at(here >= 0)._replace(node=here[here >= 0])
        crowds = CrowdWalk(crowded, settings or DedupSettings())
    dropped_for = _walk_leaders(rank, one[between], other[between], protected, crowds)

    leader_of = leader[group[best_first]]
    kept_leader = dropped_for[leader_of] == KEPT
    for_whom = np.where(kept_leader, leader_of, dropped_for[leader_of])
    dropped_for[best_first] = np.where(for_whom == best_first, KEPT, for_whom)
    return dropped_for


def components(count: int, first: Indices, second: Indices) -> Indices:
    """Finds connected components.

    Args:
        count: Number of nodes N.
        first: The first node of each edge, int64[E].
        second: The second node of each edge, int64[E].

    Returns:
        For each node the smallest node of its component, int64[N].
    """
    label = np.arange(count)
    while True:
        one, other = label[first], label[second]
        if (one == other).all():
            return label
        # The larger root takes the smaller one's label, then all paths are compressed, so that even
        # long chains need few rounds.
        np.minimum.at(label, np.maximum(one, other), np.minimum(one, other))
        while (label != label[label]).any():
            label = label[label]


def _walk_leaders(
    rank: Indices,
    one: Indices,
    other: Indices,
    protected: NDArray[np.bool_] | None,
    crowds: CrowdWalk | None,
) -> Indices:
    """Walks without classes, over the records in a pair or a crowd; all others are kept."""
    source, target = np.append(one, other), np.append(other, one)
    by_source = np.argsort(source, kind="stable")
    target = target[by_source]
    starts = np.searchsorted(source[by_source], np.arange(len(rank) + 1))
    dropped_for = np.full(len(rank), KEPT, dtype=np.int64)
    visited = np.unique(source if crowds is None else np.append(source, crowds.crowded.node))
    for place in visited[np.argsort(rank[visited])]:
        if dropped_for[place] == KEPT:
            near = target[starts[place] : starts[place + 1]]
            if crowds is not None:
                crowd = crowds.near(int(place))
                if protected is not None and protected[place]:
                    crowd = crowd[~protected[crowd]]
                near = np.append(near, crowd)
            # No neighbour was kept before, or it would have dropped this record. So those that are
            # not dropped yet come later in the order.
            dropped_for[near[dropped_for[near] == KEPT]] = place
    return dropped_for

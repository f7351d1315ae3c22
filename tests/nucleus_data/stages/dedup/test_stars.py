"""Components by turns of two steps, against union by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleus_data.corpus.shuffle import spread
from nucleus_data.stages.dedup.stars import (
    LINK,
    both_ways,
    centres,
    joined_above,
    joined_below,
    links,
)
from nucleus_data.stages.dedup.walk import components


def dealt(edges, parts):
    """Edges as the tasks get them: all of a node in one part."""
    reader = spread(np.ascontiguousarray(edges["node"]), parts)
    mine = [edges[reader == part] for part in range(parts)]
    return [links(edges["node"], edges["other"]) for edges in mine]


def solve(pairs, parts, most=60):
    """Node -> the smallest node of its component; and how many turns it took."""
    first, second = np.array(pairs, np.uint64).reshape(-1, 2).T
    edges = both_ways(links(first, second))
    for turn in range(most):
        steps = [joined_above(mine) for mine in dealt(edges, parts)]
        if not sum(unsettled for _, unsettled in steps):
            stars = [centres(mine) for mine in dealt(edges, parts)]
            return {
                int(a): int(b) for nodes, mid in stars for a, b in zip(nodes, mid, strict=True)
            }, turn
        above = np.concatenate([np.empty(0, LINK), *(found for found, _ in steps)])
        edges = np.concatenate([joined_below(mine) for mine in dealt(above, parts)])
    raise AssertionError(f"not done after {most} turns")


NODES = st.integers(0, 40)


@pytest.mark.slow
@settings(max_examples=150)
@given(
    st.lists(st.tuples(NODES, NODES).filter(lambda pair: pair[0] != pair[1]), max_size=50),
    st.integers(1, 5),
)
def test_any_graph_in_any_number_of_parts(pairs, parts):
    first, second = np.array(pairs, np.int64).reshape(-1, 2).T
    label = components(41, first, second)
    found, _ = solve(pairs, parts)
    assert found == {node: int(label[node]) for node in {*first.tolist(), *second.tolist()}}


@pytest.mark.parametrize("parts", [1, 7])
def test_a_long_chain_takes_few_turns(parts):
    rng = np.random.default_rng(3)
    names = rng.permutation(3000).astype(np.uint64)
    found, turns = solve(np.stack([names[1:], names[:-1]], 1), parts)
    assert set(found.values()) == {0}
    assert len(found) == 3000
    assert turns < 15
    in_order = np.arange(3000)
    found, turns = solve(np.stack([in_order[1:], in_order[:-1]], 1), parts)
    assert set(found.values()) == {0}
    assert turns < 15


def test_a_star_around_its_smallest_node_is_done_at_once():
    pairs = [(node, 5) for node in range(6, 400)] + [(2, 3)]
    found, turns = solve(pairs, 3)
    assert found == {5: 5, 2: 2, 3: 2} | dict.fromkeys(range(6, 400), 5)
    assert turns == 0


def test_names_of_64_bits():
    high = 2**63 + 5
    found, _ = solve([(high, 7), (high, 2**40)], 2)
    assert found == dict.fromkeys([high, 7, 2**40], 7)

import tracemalloc

import numpy as np
import pytest

from nucleus_data.stages.dedup.rows import (
    EDGE,
    MAX_SHARD,
    UNKNOWN,
    by_place,
    corpus_of,
    pairs_table,
    place_of,
    records_of,
    row_of,
    shard_of,
)
from tests.support.clustered import hash_table


def test_a_place_is_a_corpus_a_shard_and_a_row():
    shards, rows = np.array([0, 3, MAX_SHARD]), np.array([0, 9_999, 2**31 - 1])
    for corpus in (0, 7):
        places = place_of(shards, rows, corpus)
        assert corpus_of(places).tolist() == [corpus] * 3
        assert shard_of(places).tolist() == shards.tolist()
        assert row_of(places).tolist() == rows.tolist()
    assert place_of(shards, rows, 1).min() > place_of(shards, rows).max()  # own records go first
    with pytest.raises(ValueError, match=f"shards must be 0 to {MAX_SHARD}"):
        place_of(np.array([MAX_SHARD + 1]), np.array([0]))


def test_what_is_not_known_of_a_record_is_like_nobody_else_s():
    bits, more = [1] * 64, [0, 1] * 128
    table = hash_table([(1, 0, None, bits, more, 4, 3), (0, 5, "x", None, None, None, None)])
    measured, unmeasured = by_place(records_of(table))[::-1]
    assert (measured["width"], measured["height"]) == (4, 3)
    assert int(measured["phash"]) == 2**64 - 1
    # Bytes that nobody knows: the place, which no other record has, and no SHA-256 begins so.
    assert measured["sha256"].tolist() == [int(measured["place"]), *[int(UNKNOWN)] * 3]
    assert unmeasured["width"] == 0


@pytest.mark.slow
def test_a_pair_s_ids_become_texts_in_little_memory(monkeypatch):
    edges = np.zeros(200_000, EDGE)
    edges["other"] = np.arange(len(edges))[::-1]
    edges["other_id"][:, 1] = edges["other"]
    edges["other"][:3] |= place_of(np.array([0]), np.array([0]), 2)
    tracemalloc.start()
    try:
        pairs = pairs_table(edges, ("old", "older"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak / len(edges) < 230  # of them 56 are the sorted edge; a Python text takes 89
    numbers = [number.to_bytes(8, "little").hex() for number in range(len(edges))]
    ids = [f"{0:016x}{number}" for number in numbers]
    expected = [*ids[:-3], *(f"older:{name}" for name in ids[-3:])]
    assert pairs["other_id"].to_pylist() == expected
    monkeypatch.setattr("nucleus_data.stages.dedup.rows.TEXTS", 7)
    assert pairs_table(edges[-100:]).equals(pairs[:100])

import numpy as np

from nucleus_data.stages.dedup.classes import Members
from nucleus_data.stages.dedup.confirm import hash256_distance
from nucleus_data.stages.dedup.groups import group_equal

CLASSES = "nucleus_data.stages.dedup.classes."
GROUP = np.array([0, 1, 0, 2, 1, 1, 0, 1], np.uint64)


def expanded(hashes, limit=256):
    """Near pairs of groups 1 and 1, 0 and 2; their distances; sizes of pieces; candidates."""
    members = Members(group_equal(GROUP), hashes)
    pieces = list(members.of_pairs(np.array([1, 0]), np.array([1, 2]), limit))
    found = {
        (int(pair), int(one), int(other)): int(apart)
        for piece in pieces
        for pair, one, other, apart in zip(*piece[:4], strict=True)
    }
    return found, [len(piece.pair) for piece in pieces], [piece.candidates for piece in pieces]


def test_members_of_a_large_group_come_in_bounded_pieces(monkeypatch):
    monkeypatch.setattr(f"{CLASSES}SLICE", 4)
    found, sizes, candidates = expanded(np.zeros((8, 4), np.uint64))
    inside = [(0, a, b) for a in (1, 4, 5, 7) for b in (1, 4, 5, 7) if a < b]
    assert sorted(found) == [*inside, (1, 0, 3), (1, 2, 3), (1, 6, 3)]
    assert (max(sizes), sum(sizes), sum(candidates)) == (4, 9, 9)


def test_only_members_whose_256_bits_are_near_come_out(monkeypatch):
    hashes = np.random.default_rng(0).integers(0, 4, (8, 4), np.uint64) << np.uint64(61)
    every, _, _ = expanded(hashes)
    assert every == {
        (pair, one, other): hash256_distance(hashes[[one]], hashes[[other]])[0]
        for pair, one, other in every
    }
    near = {place: apart for place, apart in every.items() if apart <= 3}
    assert 0 < len(near) < len(every)
    # However few are compared in a call.
    for most in (1, 2, 5, 100):
        monkeypatch.setattr(f"{CLASSES}CANDIDATES", most)
        found, _, candidates = expanded(hashes, 3)
        assert found == near
        assert sum(candidates) == 9
        assert max(candidates) <= most

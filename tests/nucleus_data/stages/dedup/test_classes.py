import numpy as np

from nucleus_data.stages.dedup.classes import Members
from nucleus_data.stages.dedup.groups import group_equal


def test_members_of_a_large_group_come_in_bounded_pieces(monkeypatch):
    monkeypatch.setattr("nucleus_data.stages.dedup.classes.SLICE", 7)
    group = np.array([0, 1, 0, 2, 1, 1, 0, 1], np.uint64)
    pieces = list(Members(group_equal(group)).of_pairs(np.array([1, 0]), np.array([1, 2])))
    assert max(len(pair) for pair, *_ in pieces) <= 7
    found = [tuple(row) for piece in pieces for row in np.stack(piece, axis=1).tolist()]
    inside = [(0, a, b) for a in (1, 4, 5, 7) for b in (1, 4, 5, 7) if a < b]
    assert sorted(found) == [*inside, (1, 0, 3), (1, 2, 3), (1, 6, 3)]

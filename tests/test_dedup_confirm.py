import numpy as np
import pytest

from nucleus_data.dedup.confirm import aspect_difference, confirm, hash256_distance


def hashes(*set_bits):
    """256-bit hashes with the given numbers of one bits, spread over all words."""
    bits = np.zeros((len(set_bits), 256), dtype=np.uint8)
    for row, number in enumerate(set_bits):
        bits[row, (np.arange(number) * 97) % 256] = 1
    return np.packbits(bits, axis=1).view(np.uint64)


def test_hash256_distance_counts_every_word():
    assert hash256_distance(hashes(0, 0, 7), hashes(256, 41, 10)).tolist() == [256, 41, 3]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((400, 300), (800, 600), 0),
        ((103, 100), (100, 100), 0.03),
        ((100, 100), (103, 100), 0.03),
        ((100, 103), (100, 100), 0.03),
        ((400, 300), (300, 400), 7 / 9),
    ],
)
def test_aspect_difference(one, other, expected):
    assert aspect_difference(np.array([one]), np.array([other])).tolist() == [
        pytest.approx(expected)
    ]


def test_ratios_that_floats_cannot_tell_apart_differ():
    big = 2**31 - 1
    difference = aspect_difference(np.array([[big, big - 1]]), np.array([[big - 1, big - 2]]))
    assert 0 < np.float32(difference[0]) < 1e-17


def test_both_limits_are_inclusive():
    counts, apart, stretched = confirm(
        hashes(0, 0, 0, 0),
        hashes(40, 41, 0, 0),
        np.array([[100, 100]] * 4),
        np.array([[100, 100], [100, 100], [103, 100], [1031, 1000]]),
    )
    assert counts.tolist() == [True, False, True, False]
    assert apart.tolist() == [40, 41, 0, 0]
    assert stretched.tolist() == pytest.approx([0, 0, 0.03, 0.031])


def test_limits_can_be_chosen():
    size = np.array([[100, 100]]), np.array([[110, 100]])
    assert confirm(hashes(0), hashes(50), *size, hash256_limit=50, aspect_tolerance=0.1)[0].all()
    assert not confirm(hashes(0), hashes(50), *size, hash256_limit=49, aspect_tolerance=0.1)[
        0
    ].any()
    assert not confirm(hashes(0), hashes(50), *size, hash256_limit=50, aspect_tolerance=0.09)[
        0
    ].any()

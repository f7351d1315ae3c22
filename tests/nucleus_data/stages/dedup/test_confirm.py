import numpy as np
import pytest

from nucleus_data.stages.dedup.confirm import (
    aspect_difference,
    confirm,
    hash256_distance,
    rounded_aspect,
)


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
        ((2001, 2000), (1, 1), 0),
        ((103, 100), (100, 100), 15 / 512),
        ((100, 100), (103, 100), 15 / 512),
        ((100, 103), (100, 100), 1024 / 994 - 1),
        ((400, 300), (300, 400), 683 / 512 / 0.75 - 1),
    ],
)
def test_aspect_difference(one, other, expected):
    assert aspect_difference(np.array([one]), np.array([other])).tolist() == [
        pytest.approx(expected)
    ]


def test_rounding_changes_a_ratio_by_a_thousandth_at_most():
    size = np.random.default_rng(0).integers(1, 2**31, (10_000, 2))
    size = np.concatenate([size, [[2**31 - 1, 1], [1, 2**31 - 1], [1023, 512], [2047, 1024]]])
    rounded = rounded_aspect(size)
    assert np.abs(rounded / (size[:, 0] / size[:, 1]) - 1).max() <= 1 / 1024
    between = (rounded >= 1) & (rounded < 2)
    assert len(np.unique(rounded[between])) <= 512


def test_both_limits_are_inclusive():
    counts, apart, stretched = confirm(
        hashes(0, 0, 0, 0),
        hashes(40, 41, 0, 0),
        np.array([[100, 100]] * 4),
        np.array([[100, 100], [100, 100], [103, 100], [1031, 1000]]),
    )
    assert counts.tolist() == [True, False, True, False]
    assert apart.tolist() == [40, 41, 0, 0]
    assert stretched.tolist() == pytest.approx([0, 0, 15 / 512, 16 / 512])


def test_limits_can_be_chosen():
    size = np.array([[100, 100]]), np.array([[110, 100]])
    assert confirm(hashes(0), hashes(50), *size, hash256_limit=50, aspect_tolerance=0.1)[0].all()
    assert not confirm(hashes(0), hashes(50), *size, hash256_limit=49, aspect_tolerance=0.1)[
        0
    ].any()
    assert not confirm(hashes(0), hashes(50), *size, hash256_limit=50, aspect_tolerance=0.09)[
        0
    ].any()

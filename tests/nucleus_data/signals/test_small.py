import numpy as np
import pytest
from hypothesis import example, given

from nucleus_data.signals import small
from tests.support.measured import LEVELS, SIDES, noise, some


@pytest.mark.slow
@some
@given(SIDES, SIDES, LEVELS)
@example(256, 256, 1)  # one colour: more pixels of one kind than 16 bits hold
@example(256, 256, 256)
def test_small_sums_against_numpy(height, width, levels):
    pixels, luma = noise(height, width, levels, (3,)), noise(height, width, levels)
    found = small.SmallSums(*small.small_sums(pixels, luma))
    red, green, blue = pixels.reshape(-1, 3).T.astype(int)
    wide, n = luma.reshape(-1).astype(int), luma.size
    ranges = np.ptp(pixels.astype(int), axis=2)
    first, second = red - green, red + green - 2 * blue
    cubes = [np.stack([red, green, blue]) + shift >> 4 for shift in (0, 8)]
    commonest = max(np.unique(c, axis=1, return_counts=True)[1].max() for c in cubes)
    shares = np.unique(wide, return_counts=True)[1] / n
    ordered = np.sort(wide)
    assert found == small.SmallSums(
        pixels=n,
        luma=wide.sum(),
        luma_2=(wide**2).sum(),
        dark=(wide < 16).sum(),
        bright=(wide >= 240).sum(),
        clipped=(pixels.max(axis=2) >= 250).sum(),
        luma_p1=ordered[int(np.ceil(0.01 * n)) - 1],
        luma_p99=ordered[int(np.ceil(0.99 * n)) - 1],
        entropy=pytest.approx(-(shares * np.log2(shares)).sum(), abs=1e-12),
        ranges=ranges.sum(),
        first=first.sum(),
        first_2=(first**2).sum(),
        second=second.sum(),
        second_2=(second**2).sum(),
        grey=(ranges < 12).sum(),
        commonest=commonest,
    )


def test_percentiles_of_counts():
    counts = np.array([0, 3, 0, 1])
    assert [small.percentile(counts, share) for share in (0.0, 0.75, 0.76, 1.0)] == [0, 1, 3, 3]

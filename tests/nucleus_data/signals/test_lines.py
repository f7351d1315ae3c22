import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nucleus_data.signals import lines
from tests.support.measured import noise, some


def test_medians_against_numpy():
    for length in (1, 2, 7, 100):
        line = noise(1, length)[0]
        assert lines.median_level(line) == int(np.median(line))


@some
@given(st.integers(10, 90), st.integers(10, 90))
@example(5000, 12)  # more strips than 8 bits hold
@example(12, 66_000)  # more pixels in a row than 16 bits hold
def test_seam_counts_against_numpy(height, width):
    pixels = noise(height, width, 60)
    if width > 60_000:
        pixels[:, :] = np.arange(height, dtype=np.uint8)[:, None] // 6 * 100
    columns, rows = np.zeros(width, np.int64), np.zeros(height, np.int64)
    lines.seam_counts(pixels, columns, rows)

    def plain(wide):
        x = np.arange(4, wide.shape[1] - 5)
        half = np.abs(wide[:, x + 2] - wide[:, x - 1]) // 2
        flat = np.maximum(
            np.abs(wide[:, x - 1] - wide[:, x - 4]), np.abs(wide[:, x + 5] - wide[:, x + 2])
        )
        return ((half >= 6) & (half > flat)).sum(axis=0)

    assert (columns[4:-5] == plain(pixels.astype(int))).all()
    assert (rows[4:-5] == plain(pixels.T.astype(int))).all()
    assert columns[:4].sum() == columns[-5:].sum() == rows[:4].sum() == rows[-5:].sum() == 0


@pytest.mark.parametrize("shape", [(1, 1), (9, 9), (3, 100), (100, 3)])
def test_pictures_that_are_too_small_have_no_seams(shape):
    pixels = 255 * (np.indices(shape).sum(axis=0) % 2).astype(np.uint8)
    assert lines.seams(pixels, 0.0, 0.0, 0.0, 0.0) == (0.0, 0.0)

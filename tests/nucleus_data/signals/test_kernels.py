"""The compiled passes behind the signals, against plain loops and numpy."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nucleus_data.signals import kernels
from tests.support.measured import LEVELS, SIDES, noise, some


@some
@given(st.integers(3, 40), st.integers(3, 2200), st.sampled_from([(0, 256), (0, 2)]))
def test_laplacian_is_exact(height, width, levels):
    """Also of many pixels in a row at the largest values, where 32 bits would not do."""
    luma = np.random.default_rng(height).integers(*levels, (height, width), dtype=np.uint8)
    if levels[1] == 2:
        luma = np.uint8(255) * (np.indices((height, width)).sum(axis=0) % 2).astype(np.uint8)
    wide = luma.astype(np.int64)
    values = wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:]
    values -= 4 * wide[1:-1, 1:-1]
    assert kernels.laplacian_sums(luma) == (values.sum(), (values**2).sum())


@some
@given(SIDES, SIDES, LEVELS)
@example(700, 9, 256)  # more strips than 8 bits hold
@example(1, 1, 256)
def test_steps_are_added_up_by_their_place_modulo_8(height, width, levels):
    luma = noise(height, width, levels).astype(int)
    across = np.minimum(32, np.abs(np.diff(luma, axis=1))).sum(axis=0)
    down = np.minimum(32, np.abs(np.diff(luma, axis=0))).sum(axis=1)
    for found, steps in zip(kernels.step_sums(luma.astype(np.uint8)), (across, down), strict=True):
        whole = len(steps) // 8 * 8
        assert (found == steps[:whole].reshape(-1, 8).sum(axis=0)).all()


@some
@given(st.integers(2, 90), st.integers(2, 90), st.integers(1, 4), st.integers(1, 4))
@example(50, 70, 3, 4)
@example(40, 300, 2, 9)
@example(9, 200, 1, 2)
def test_block_edges_against_a_plain_loop(height, width, down, across):
    down, across = min(down, height // 2), min(across, width // 2)
    pixels = noise(height, width)
    ranges, steps = np.empty((down, across), np.int32), np.empty((down, across), np.int32)
    kernels.block_edges(pixels, ranges, steps)
    for by in range(down):
        for bx in range(across):
            rows = slice(height * by // down, height * (by + 1) // down)
            columns = slice(width * bx // across, width * (bx + 1) // across)
            block = pixels[rows, columns].astype(int)
            assert ranges[by, bx] == np.ptp(block)
            steepest = max(
                np.abs(np.diff(block, axis=1)).max(initial=0),
                np.abs(np.diff(block[:, :-1] if bx < across - 1 else block, axis=0)).max(initial=0),
            )
            assert steps[by, bx] == steepest


def test_the_width_of_blocks_follows_its_percentiles():
    pixels = noise(96, 160)
    pixels[:32, :64] = 90  # blocks without a range don't count
    ranges, steps = np.empty((3, 5), np.int32), np.empty((3, 5), np.int32)
    kernels.block_edges(pixels, ranges, steps)
    strong = ranges >= max(28, 0.5 * np.percentile(ranges, 95))
    expected = 1 / np.percentile(steps[strong] / ranges[strong], 90)
    assert kernels.width_of_blocks(pixels, 32, 28, 0.5) == pytest.approx(expected, rel=1e-12)
    assert kernels.width_of_blocks(np.zeros((40, 40), np.uint8), 32, 28, 0.5) == 0.0


def test_halved_is_the_mean_of_squares():
    pixels = noise(9, 7)
    means = pixels[:8, :6].reshape(4, 2, 3, 2).astype(int).sum(axis=(1, 3))
    assert (kernels.halved(pixels) == (means + 2) // 4).all()

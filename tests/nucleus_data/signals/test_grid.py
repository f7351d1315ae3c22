import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucleus_data.signals import grid
from tests.support.measured import noise, some


@pytest.mark.slow
@some
@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([32, 60, 64]))
def test_cells_share_out_every_pixel(height, width, side):
    luma = noise(height, width)
    rows = luma.astype(np.int64).repeat(side, axis=0).reshape(side, height, width).sum(axis=1)
    sums = rows.repeat(side, axis=1).reshape(side, side, width).sum(axis=2)
    assert (grid.cell_sums(luma, side) == sums).all()


def test_a_block_of_frequencies_is_a_product_of_matrices():
    rng = np.random.default_rng(4)
    pixels = rng.integers(0, 65281, (32, 32)).astype(float)
    matrix = rng.integers(-4096, 4097, (8, 32)).astype(float)
    assert (grid.dct_block(pixels, matrix) == matrix @ pixels @ matrix.T).all()


def test_bits_are_above_the_median_of_all_but_the_first():
    block = np.random.default_rng(5).permutation(64).astype(float).reshape(8, 8)
    bits = block.reshape(-1) > np.median(block.reshape(-1)[1:])
    assert grid.packed_bits(block).tolist() == [int.from_bytes(np.packbits(bits), "big")]


def test_likeness_is_the_correlation_of_gradients():
    cells = np.random.default_rng(9).normal(0, 100, (60, 60))
    down, across = np.diff(cells, axis=0)[:, :-1], np.diff(cells, axis=1)[:-1]
    fields = np.concatenate([down - down.mean(), across - across.mean()], axis=1)
    one, other = fields[:-20].reshape(-1), fields[20:].reshape(-1)
    expected = (one @ other) / np.sqrt((one @ one) * (other @ other))

    def likeness(cells):
        found = grid.gradients(cells)
        return grid.likeness(found, grid.row_sums(found), 20, 0.0)

    assert likeness(cells) == pytest.approx(expected)
    assert likeness(np.tile(cells[:20], (3, 1))) == pytest.approx(1, abs=0.05)
    assert likeness(np.ones((60, 60))) == 0.0

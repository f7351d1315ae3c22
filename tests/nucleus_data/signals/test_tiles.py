import numpy as np
import pytest

from nucleus_data.signals import tiles
from tests.support.measured import noise


@pytest.mark.parametrize("shape", [(1, 1), (5, 900), (64, 64), (300, 70), (1000, 1000)])
@pytest.mark.parametrize(("side", "most"), [(64, 4), (16, 8)])
def test_tiles_are_of_the_picture_and_do_not_overlap(shape, side, most):
    """Pixels are told apart by their value, in two pictures of 8 bits."""
    places = np.arange(shape[0] * shape[1]).reshape(shape)
    parts = ((places >> shift).astype(np.uint8) for shift in (0, 8, 16))
    found = sum(
        tiles.sample_tiles(part, side, most).astype(int) << 8 * i for i, part in enumerate(parts)
    )
    down, across, height, width = found.shape
    assert (height, width) == (min(side, shape[0]), min(side, shape[1]))
    assert (down, across) == tuple(max(1, min(most, length // side)) for length in shape)
    assert len(np.unique(found)) == found.size
    # Evenly spread: what is left out at one end is left out at the other.
    ends = found[0, 0, 0, 0], found[-1, -1, -1, -1]
    assert abs(ends[0] - (places.size - 1 - ends[1])) <= max(shape) + 1


@pytest.mark.slow
def test_a_mosaic_is_of_the_tiles():
    pixels = noise(100, 50)
    found = tiles.sample_tiles(pixels, 16, 8)
    assert (tiles.mosaic(pixels, 16, 8)[:, :, 0] == np.block([list(row) for row in found])).all()

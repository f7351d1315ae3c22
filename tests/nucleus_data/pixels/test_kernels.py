import numpy as np
import pytest
from PIL import Image

from nucleus_data.pixels import kernels


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [(97, 61), (64, 40), (1, 33)])
def test_luma_and_blocks_follow_pillow(factor, size):
    rng = np.random.default_rng(factor)
    pixels = rng.integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    luma, blocks = kernels.luma_and_blocks(pixels, factor)
    image = Image.fromarray(np.ascontiguousarray(pixels[:, :, :3]))
    assert (luma == np.asarray(image.convert("L"))).all()
    assert (kernels.luma_of(np.asarray(image)) == luma).all()
    down, across = -(-size[1] // factor), -(-size[0] // factor)
    assert blocks.shape == (down, across, 3)
    for y in (0, down - 1):
        for x in (0, across - 1):
            block = pixels[y * factor : (y + 1) * factor, x * factor : (x + 1) * factor, :3]
            assert np.abs(blocks[y, x] - block.mean(axis=(0, 1))).max() <= 0.5


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("wanted", [(13, 9), (40, 24), (1, 1), (80, 48), (79, 48)])
def test_area_average_is_the_exact_mean(channels, wanted):
    across, down = wanted
    pixels = np.random.default_rng(3).integers(0, 256, (48, 80, channels), dtype=np.uint8)
    wide = pixels.repeat(down, axis=0).reshape(down, 48, 80, channels).mean(axis=1)
    means = wide.repeat(across, axis=1).reshape(down, across, 80, channels).mean(axis=2)
    assert np.abs(kernels.area_average(pixels, 1, (80, 48), wanted) - means).max() <= 0.5 + 1e-9


def test_area_average_of_blocks_that_are_cut():
    """The last column and row of blocks hold one pixel each way, and count as much."""
    blocks = np.full((5, 5, 1), 10, np.uint8)
    blocks[-1], blocks[:, -1] = 90, 90
    found = kernels.area_average(blocks, 4, (17, 17), (1, 1))
    assert found.item() == round((10 * 256 + 90 * 33) / 289)

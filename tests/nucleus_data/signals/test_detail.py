import math

import numpy as np
import pytest
from PIL import ImageFilter

from nucleus_data.signals import detail
from nucleus_data.signals.bands import bands
from tests.support.measured import picture_of, scene


def test_laplacian_against_a_plain_loop():
    luma = np.random.default_rng(1).integers(0, 256, (23, 31), dtype=np.uint8)
    wide = luma.astype(int)
    values = [
        wide[y - 1, x] + wide[y + 1, x] + wide[y, x - 1] + wide[y, x + 1] - 4 * wide[y, x]
        for y in range(1, 22)
        for x in range(1, 30)
    ]
    assert detail.laplacian_variance(luma) == pytest.approx(np.var(values), rel=1e-12)


def high_frequency_share(luma):
    return detail.high_frequency_share(bands(luma))


def test_high_frequency_share_of_known_spectra():
    rng = np.random.default_rng(2)
    noise = rng.integers(0, 256, (512, 512), dtype=np.uint8)
    assert high_frequency_share(noise) == pytest.approx(1 - math.pi / 16, abs=0.01)
    x = np.arange(300)
    for period, high in ((3, True), (8, False)):
        wave = 128 + 100 * np.cos(2 * np.pi * x / period)
        rows = np.broadcast_to(wave.astype(np.uint8), (200, 300))
        share = high_frequency_share(rows)
        assert share > 0.99 if high else share < 0.01
    assert high_frequency_share(np.full((90, 70), 93, np.uint8)) == 0.0


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 2), (64, 1), (65, 63), (200, 3)])
def test_detail_of_tiny_pictures_is_a_number(shape):
    luma = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
    assert math.isfinite(detail.laplacian_variance(luma))
    assert 0.0 <= high_frequency_share(luma) <= 1.0


def test_blur_lowers_both():
    sharp = scene(400, 300)
    blurred = sharp.filter(ImageFilter.GaussianBlur(3))
    sharp_values, blurred_values = (
        detail.group.measure(picture_of(image), None) for image in (sharp, blurred)
    )
    for name, value in sharp_values.items():
        assert blurred_values[name] < value / 10

import numpy as np
import pytest

from nucleus_data.signals import bands, tiles
from tests.support.measured import noise

SHAPES = [(300, 200), (64, 64), (200, 90), (63, 200), (20, 33), (5, 5), (1, 1)]


@pytest.mark.parametrize("shape", SHAPES)
def test_bands_are_sums_over_whole_spectra(shape):
    """The same by the definition, with all of the spectrum and not its half."""
    luma = noise(*shape)
    found = tiles.sample_tiles(luma, 64, 4)
    height, width = found.shape[2:]
    windows = [np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2 for side in (height, width)]
    levels = found.reshape(-1, height, width).astype(float)
    levels = (levels - levels.mean(axis=(1, 2), keepdims=True)) * np.outer(*windows)
    power = np.abs(np.fft.fft2(levels)) ** 2 / (height * width)
    power[:, 0, 0] = 0
    y, x = np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij")
    larger = np.maximum(abs(y), abs(x))
    result = bands.bands(luma)
    assert result.everything == pytest.approx(power.sum(), rel=1e-5, abs=1e-4)
    assert result.high == pytest.approx(power[:, np.hypot(y, x) > 0.25].sum(), rel=1e-5, abs=1e-4)
    half = x >= 0 if width % 2 else (x >= 0) | (x == -0.5)
    middle, highest = (larger >= 0.06) & (larger <= 0.2) & half, (larger >= 0.33) & half
    if not middle.any() or not highest.any():
        assert result.natural == 0
        return
    means = power[:, middle].mean(axis=1)
    most = np.argsort(means)[-4:]
    assert result.middle == pytest.approx(means[most].mean(), rel=1e-5)
    assert result.highest == pytest.approx(power[most][:, highest].mean(), rel=1e-5)
    fall = (1 / (y**2 + x**2)[highest]).mean() / (1 / (y**2 + x**2)[middle]).mean()
    assert result.natural == pytest.approx(result.middle * fall, rel=1e-6)

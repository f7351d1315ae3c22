import numpy as np
import pytest

from nucleus_data.signals import bands, fourier


@pytest.mark.parametrize("count", [1, 3, 16])
@pytest.mark.parametrize("side", [64, 50])
def test_spectra_are_those_of_numpy(count, side):
    found = np.random.default_rng(6).integers(0, 256, (count, side, side), dtype=np.uint8)
    hann = np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2
    levels = (found - found.mean(axis=(1, 2), keepdims=True)) * np.outer(hann, hann)
    power = np.abs(np.fft.rfft2(levels)) ** 2 / side**2
    for spectra in (bands.spectra, fourier.tile_power) if side == 64 else (bands.spectra,):
        np.testing.assert_allclose(spectra(found).swapaxes(1, 2), power, atol=1e-6 * power.max())

import numpy as np
import pytest
from PIL import Image

from nucleus_data.signals.kernels import bends
from nucleus_data.signals.resampling import resampling, rhythm
from tests.support.measured import picture_of, scene

R = Image.Resampling
SCENE = scene(480, 400)


def luma(image):
    return np.asarray(image.convert("L"))


def scaled(factor, how):
    return luma(SCENE.resize((round(480 * factor), round(400 * factor)), how))


@pytest.mark.slow
def test_bends_are_second_differences():
    pixels = np.random.default_rng(2).integers(0, 256, (30, 41), dtype=np.uint8)
    across = np.minimum(np.abs(np.diff(pixels.astype(int), 2, axis=1)), 32).mean(axis=0)
    down = np.minimum(np.abs(np.diff(pixels.astype(int), 2, axis=0)), 32).mean(axis=1)
    for found, known in zip(bends(pixels), (across, down), strict=True):
        np.testing.assert_allclose(found, known)


@pytest.mark.parametrize("factor", [1.25, 1.5, 3])
@pytest.mark.parametrize("how", [R.BILINEAR, R.BICUBIC, R.LANCZOS])
def test_enlarging_leaves_a_trace(factor, how):
    assert resampling(scaled(factor, how)) > 9


@pytest.mark.parametrize("factor", [1, 0.9, 0.75, 0.5])
def test_downscaling_does_not_once_it_is_a_jpeg(factor):
    smaller = Image.fromarray(scaled(factor, R.LANCZOS))
    assert 0 < resampling(picture_of(smaller, "JPEG", quality=80).luma_full) < 7


def test_stripes_are_no_trace():
    striped = luma(SCENE) // 2 + np.where(np.arange(480) % 5 < 2, 100, 0).astype(np.uint8)
    across, down = bends(striped)
    assert rhythm(across).max() > 20
    assert rhythm(down)[40:].max() < 9
    assert resampling(striped) < 7


def test_what_is_too_small_or_even_has_none():
    assert resampling(np.zeros((95, 400), np.uint8)) == 0
    assert resampling(np.zeros((400, 400), np.uint8)) == 0

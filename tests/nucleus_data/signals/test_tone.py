import math

import numpy as np
import pytest
from PIL import Image

from nucleus_data.signals import tone
from tests.support.measured import picture_of, solid


@pytest.mark.parametrize(
    ("colour", "mean", "dark", "bright", "clipped", "saturation"),
    [
        ((0, 0, 0), 0, 1, 0, 0, 0),
        ((15, 15, 15), 15, 1, 0, 0, 0),
        ((16, 16, 16), 16, 0, 0, 0, 0),
        ((239, 239, 239), 239, 0, 0, 0, 0),
        ((255, 255, 255), 255, 0, 1, 1, 0),
        ((255, 0, 0), 76, 0, 0, 1, 1),
        ((0, 51, 102), 42, 0, 0, 0, 0.4),
        ((0, 250, 250), 175, 0, 0, 1, 250 / 255),
        ((249, 249, 249), 249, 0, 1, 0, 0),
    ],
)
def test_tone_of_solid_colours(colour, mean, dark, bright, clipped, saturation):
    assert tone.group.measure(picture_of(solid(colour)), None) == {
        "luma_mean": mean,
        "luma_std": 0.0,
        "dark_share": dark,
        "bright_share": bright,
        "clipped_share": clipped,
        "entropy": 0.0,
        "saturation": pytest.approx(saturation),
    }


def test_tone_of_halves_and_of_a_ramp():
    halves = Image.new("L", (64, 64), 0)
    halves.paste(200, (32, 0, 64, 64))
    values = tone.group.measure(picture_of(halves), None)
    assert values["luma_mean"] == 100
    assert values["luma_std"] == 100
    assert values["entropy"] == pytest.approx(1)
    assert values["dark_share"] == 0.5
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8).repeat(4).reshape(32, 32))
    values = tone.group.measure(picture_of(ramp), None)
    assert values["entropy"] == pytest.approx(8)
    assert values["luma_std"] == pytest.approx(math.sqrt((256**2 - 1) / 12))

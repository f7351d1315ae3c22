"""Where a border ends: by what changes from its last line on, pixel by pixel."""

import io

import numpy as np
from PIL import Image

from nucleus_data.pixels import open_picture
from nucleus_data.signals import layout

SIDES = ("left", "top", "right", "bottom")


def borders(luma_HW):
    buffer = io.BytesIO()
    Image.fromarray(np.rint(luma_HW).astype(np.uint8)).save(buffer, "PNG")
    values = layout.group.measure(open_picture(buffer.getvalue()), None)
    return [values[f"border_{side}"] for side in SIDES]


def test_a_strip_that_is_hardly_lighter_than_a_grained_ground_is_a_border():
    ground = np.random.default_rng(0).normal(239, 5, (300, 200)).clip(0, 255)
    strip = np.full((40, 200), 245.0)
    assert borders(np.concatenate([ground, strip]))[3] == np.float32(40 / 340)
    assert borders(ground) == [0, 0, 0, 0]


def test_a_faint_pattern_that_only_changes_along_its_lines_has_no_border():
    """Below line 60 the right half slowly gets darker, till half of each line is another luma."""
    y, x = np.mgrid[0:300, 0:200]
    fading = 250 - np.clip((y - 60) / 4, 0, 30) * np.clip((x - 60) / 60, 0, 1)
    assert borders(fading) == [0, 0, 0, 0]


def test_a_step_to_both_sides_ends_a_border_and_grain_does_not():
    rng = np.random.default_rng(1)
    plain = np.full((60, 200), 200.0) + rng.integers(-2, 3, (60, 200))
    stripes = 200 + np.where(np.arange(200) % 2, 14.0, -14.0) + np.zeros((240, 1))
    assert borders(np.concatenate([plain, stripes]))[1] == np.float32(60 / 300)
    rougher = 200 + rng.normal(0, 4.5, (240, 200))
    assert borders(np.concatenate([plain, rougher]))[1] == 0

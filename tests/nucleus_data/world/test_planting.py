"""How faults are planted into pictures that the world did not paint."""

import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from nucleus_data.world.expected import PLANTED, TWIN
from nucleus_data.world.plan import STRENGTHS
from nucleus_data.world.planting import base_index, base_picture, plant, planted_files


def scene(width=240, height=180, ground=None):
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(60, 200, (9, 12, 3), dtype=np.uint8))
    image = coarse.resize((width, height), Image.Resampling.BICUBIC)
    if ground:
        whole = Image.new("RGB", (2 * width, 2 * height), ground)
        whole.paste(image, (width // 2, height // 2))
        return whole
    return image


def planted(picture, fault, seed):
    ((name, data),) = planted_files(picture, fault, 2, [seed])
    assert name == fault
    return Image.open(io.BytesIO(data)).convert("L")


@pytest.mark.parametrize("ground", ["white", "black", None])
@pytest.mark.parametrize("fault", ["bordered", "banner"])
def test_a_frame_is_never_of_the_pictures_own_ground(ground, fault):
    picture = scene(ground=ground)
    levels = set()
    for seed in range(8):
        framed = planted(picture, fault, seed)
        assert framed.height > picture.height
        levels.add(framed.getpixel((3, framed.height - 3)) > 127)
    bright = {"white": {False}, "black": {True}}.get(ground)
    assert levels == (bright or ({True, False} if fault == "bordered" else {True}))


@pytest.mark.slow
def test_every_fault_is_planted_once_a_turn_and_copies_know_what_they_copy():
    made = list(plant(scene(), 7, turns=3))
    counts = Counter((file.fault, file.strength) for file in made if file.fault != "exact_copy")
    assert {fault for fault, _ in counts} == {*PLANTED, TWIN} - {"exact_copy"}
    assert set(counts.values()) == {1}
    assert len(counts) == len(STRENGTHS) * len(PLANTED)
    indices = [file.index for file in made]
    assert indices == list(range(base_index(7) + 1, base_index(7) + 1 + len(made)))
    at = {file.index: file for file in made}
    for file in made:
        if file.fault == TWIN:
            assert at[file.original].fault == "oriented"
        elif file.fault == "chain":
            assert (at[file.original].fault, at[file.original].strength) == (
                "chain_start",
                file.strength,
            )
        else:
            assert file.original == base_index(7)
    assert at[indices[-1]].index < base_index(8)


@pytest.mark.slow
def test_what_is_planted_into_is_on_white_and_no_larger_than_1024():
    clear = scene(2000, 1500).convert("RGBA")
    clear.putalpha(0)
    stream = io.BytesIO()
    clear.save(stream, "PNG")
    picture = base_picture(stream.getvalue())
    assert (picture.mode, max(picture.size)) == ("RGB", 1024)
    assert picture.getextrema() == ((255, 255),) * 3

"""How the benchmark of the rules plants and counts; the rules themselves are measured elsewhere."""

import io

import numpy as np
import pytest
from PIL import Image

from nucleus_data.line.recipe import Recipe
from nucleus_data.stages.dedup.settings import DedupSettings
from scripts.rules import counting, pictures
from scripts.rules.copies import PLAIN, among_originals, false_pairs


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
    ((name, data),) = pictures._files(picture, fault, 2, [seed])
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


def row(index, phash, scene, hash256=bytes(32), size=(100, 100)):
    return {
        "fault": "none",
        "error": None,
        "index": index,
        "name": f"{index}.png",
        "sha256": f"{index:064x}",
        "phash": phash,
        "hash256": hash256,
        "width": size[0],
        "height": size[1],
        "scene": scene,
    }


def test_false_pairs_among_candidates_and_among_confirmed_ones():
    far = bytes([255] * 8) + bytes(24)  # 64 of 256 bits
    rows = [
        row(0, 0, scene=0),
        row(1, 1, scene=0),  # a copy
        row(2, 3, scene=1, hash256=far),  # near by 64 bits, not by 256
        row(3, 0xFF00, scene=2),  # far
        row(4, 7, scene=3, size=(100, 300)),  # another shape
    ]
    found = false_pairs(rows, PLAIN, DedupSettings(), lambda a, b: a["scene"] == b["scene"])
    candidates, confirmed = list(found)
    assert (candidates.value, candidates.unit) == (0.8333, "of 6")  # 4 pictures near one another
    assert candidates.against == "5e+08 a billion"  # 5 of 10
    assert (confirmed.value, confirmed.unit) == (0, "of 1")
    (measure,), listed = among_originals(rows, PLAIN, DedupSettings())
    assert measure.value == 1
    assert measure.against == "6 candidates by 64 bits among 5 pictures"
    assert listed[0] == "0.png and 1.png: confirmed"
    assert len(listed) == 6


def test_precision_leaves_out_what_an_earlier_rule_rejects():
    rules = {"too_small": "width < 0", "blurred": "width < 0", "framed": "width < 0"}
    recipe = Recipe(select={"rules": {**rules, "framed": {"where": "width < 0", "action": "flag"}}})
    rows = [
        {"index": number, "original": -1, "fault": fault, "strength": "high"}
        for number, fault in enumerate(("tiny", "blurred", "none", "extreme_aspect", "banner"))
    ]
    found = [{"too_small", "blurred"}, {"blurred", "framed"}, {"blurred"}, {"framed"}, {"framed"}]
    told = {m.name: m for m in counting.precisions(rows, found, recipe)}
    assert told["precision of too_small"].value == 1
    assert told["precision of blurred"].value == 0.5  # the clean one; the tiny one had left
    assert told["precision of blurred"].against == "none 1"
    assert told["precision of framed"].value == 0.5  # the narrow one; the blurred one had left

"""Objects in samples are counted where the checker knows such pictures, and nowhere else."""

import json
from itertools import islice

import numpy as np
import pyarrow as pa
import pytest

from nucleus_data.world.painting import render
from nucleus_data.world.scenes import scene
from nucleus_data.world.words import captions
from nucleus_model.sampling.pictures import write_grid
from nucleus_model.settings.verdict import VerdictSettings
from nucleus_model.training.verdict.known import measured
from nucleus_model.training.verdict.objects import is_checked, objects_right, right, told
from nucleus_model.training.verdict.plan import PICTURES, Arm, Planned
from tests.support.model import Item, png, write_set

SCENES = [scene(3, n) for n in range(30)]


def pixels(one):
    return np.asarray(render(one, 64, 64))


def parts_of(tmp_path, pictures):
    texts = [captions(one)["short"] for one in SCENES]
    items = [
        Item(n, (64, 64), [text], png(picture))
        for n, (text, picture) in enumerate(zip(texts, pictures, strict=True))
    ]
    folder = write_set(tmp_path / "set", items)
    rows = [
        {"id": item.id, "reference": True, "read_from": "a", "caption": item.captions[0]}
        for item in items
    ]
    arms = {"a": Arm(str(folder)), "b": Arm(str(folder))}
    plan = Planned(VerdictSettings(), arms, {}, pa.Table.from_pylist(rows, PICTURES))
    return list(measured(plan))


@pytest.mark.slow
def test_the_reference_tells_whether_the_checker_knows_such_pictures(tmp_path):
    assert is_checked(parts_of(tmp_path / "own", [pixels(one) for one in SCENES]))
    # The same captions beside pictures that do not show them.
    others = [pixels(one) for one in [*SCENES[1:], SCENES[0]]]
    assert not is_checked(parts_of(tmp_path / "other", others))


def test_a_caption_of_a_photo_names_no_objects_of_the_world():
    assert not told("A woman in a coat walks her dog along the beach at dusk")
    assert told("a red ring and a red ring") == {("ring", "red"): 2}


@pytest.mark.slow
def test_objects_are_counted_in_the_cells_of_the_grid(tmp_path):
    known = (one for one in SCENES if right(pixels(one), told(captions(one)["short"])))
    shown = list(islice(known, 4))
    prompts = [captions(one)["short"] for one in shown]
    runs = {}
    for arm, drawn in (("a", shown), ("b", [*shown[:2], *[SCENES[-1]] * 2])):
        folder = tmp_path / arm
        folder.mkdir()
        write_grid(folder, np.stack([pixels(one) for one in drawn])[:, None], prompts, [0])
        runs[arm] = [folder, folder]
    (row,) = objects_right(runs, pairs=True)
    assert row.pictures == 16
    assert row.a == pytest.approx(1.0)
    assert row.b < 0.9
    # Seeds that drew nothing count for nothing; one seed alone tells nothing.
    empty = tmp_path / "empty"
    empty.mkdir()
    (same,) = objects_right({arm: [*of, empty] for arm, of in runs.items()}, pairs=True)
    assert same == row
    assert objects_right({arm: [of[0], empty] for arm, of in runs.items()}, pairs=True) == []
    facts = json.loads((tmp_path / "a" / "samples.json").read_text())
    (tmp_path / "a" / "samples.json").write_text(json.dumps({**facts, "rows": ["a dog"] * 4}))
    assert objects_right(runs, pairs=True) == []

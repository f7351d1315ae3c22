"""Planted wrong captions of the world, by the packaged CLIP."""

import csv

import numpy as np
import pytest

from nucleus_data.engines.calibration import load_calibration
from nucleus_data.engines.clip import load_clip
from nucleus_data.views.calibrate import calibrate
from nucleus_data.world.painting import render
from nucleus_data.world.scenes import scene
from nucleus_data.world.words import captions
from tests.support import curated
from tests.support.vectors import vector_corpus

SEED, PICTURES = 91_001, 400


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_wrong_captions_of_the_world_are_told_at_the_published_thresholds(tmp_path):
    pytest.importorskip("open_clip")
    clip = load_clip("nano")
    scenes = [scene(SEED, index, "core") for index in range(PICTURES)]
    images = clip.images([render(one, 128, 128) for one in scenes])
    texts = clip.texts([captions(one)["short"] for one in scenes])
    wrong = np.arange(PICTURES) % 2 == 0
    texts[wrong] = np.roll(texts[wrong], 1, axis=0)
    made = vector_corpus(tmp_path, images, texts)
    rows = [(ident, not bad) for ident, bad in zip(made.ids, wrong, strict=True)]
    with (tmp_path / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("id", "matched"), *rows])
    run = curated.run(made.corpus.uri, "calibrate")
    out = tmp_path / "c.json"
    given = {"name": "main", "prior": 0.5, "most": 9, "seed": 0, "labels": tmp_path / "labels.csv"}
    print(*calibrate(run.run, run.stages["embed"], run.stages["dedup"], out=out, **given), sep="\n")
    found = load_calibration(out).fitted
    assert found["auc"] > 0.95
    for cut in found["cuts"]:
        assert cut["best_precision"] - cut["precision"] <= 0.02
        assert cut["best_recall"] - cut["recall"] <= 0.02
    # As far as so few pairs can tell: the interval reaches to within 0.05 of what is said.
    for decile in found["deciles"]:
        assert decile["low"] - 0.05 <= decile["said"] <= decile["high"] + 0.05

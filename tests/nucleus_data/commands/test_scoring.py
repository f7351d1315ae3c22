"""`nucleus calibrate` and `nucleus train-head`, in this process."""

import csv
import json

import numpy as np
import pytest

from nucleus_data.engines.heads import load_heads
from tests.support.command import nucleus
from tests.support.vectors import subjects, vector_corpus


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scoring")
    images, texts = subjects(400)
    found = vector_corpus(folder, images, texts)
    found.images = images
    found.given = [f"corpus={found.corpus.uri}"]
    return found


def tables(corpus):
    return {n: corpus.config_hashes(n) for n in corpus.store.list("tables")}


def test_calibrate_says_where_its_file_and_its_page_are(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = tables(made.corpus)
    said = nucleus("calibrate", *made.given)
    assert "duplicates are counted as different pictures" in said
    assert "calibration.json; use it with score.calibration.main=calibration.json" in said
    page = said.strip().splitlines()[-1]
    assert page.endswith("calibration.html")
    content = json.loads((tmp_path / "calibration.json").read_text())
    assert content["model"] == "nano"
    assert content["fitted"]["prior"] == 0.5
    assert tables(made.corpus) == before
    said = nucleus("calibrate", "--prior", "1", *made.given, code=2)
    assert "0<x<1" in said
    said = nucleus("calibrate", "--pairs", "none.csv", *made.given, code=2)
    assert "none.csv can't be read" in said
    said = nucleus("calibrate", "--model", "clip", *made.given, code=2)
    assert "available: main" in said


@pytest.mark.slow
def test_train_head_makes_a_folder_that_loads(made, tmp_path):
    file = tmp_path / "ratings.csv"
    ratings = np.round(made.images[:, :16] @ np.arange(16), 3)
    with file.open("w", newline="") as stream:
        rows = zip(made.ids, ratings.tolist(), strict=True)
        csv.writer(stream).writerows([("id", "rating"), *rows])
    command = ["train-head", file, "--name", "taste", "--out", tmp_path / "h"]
    said = nucleus(*command, *made.given)
    assert f"use it with score.heads={tmp_path / 'h'} and, in a rule, taste" in said
    assert list(load_heads(tmp_path / "h").heads) == ["taste"]
    assert "already has a head 'taste'" in nucleus(*command, *made.given, code=2)

"""Calibration of stored vectors, whose truth is known."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nucleus_data.engines.calibration import load_calibration
from nucleus_data.errors import RequestError
from nucleus_data.views.calibrate import calibrate
from nucleus_data.world.corpora import small_corpus
from tests.support import curated
from tests.support.reported import Text
from tests.support.vectors import subjects, vector_corpus

COUNT = 12_000


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Pictures and captions, one caption in four of another picture."""
    folder = tmp_path_factory.mktemp("calibrate")
    images, texts = subjects(COUNT)
    wrong = np.arange(COUNT) % 4 == 0
    texts[wrong] = np.roll(texts[wrong], 1, axis=0)
    found = vector_corpus(folder, images, texts)
    found.wrong, found.folder = wrong, folder
    found.cosines = np.einsum("nd,nd->n", *map(np.float16, (images, texts))).astype(float)
    return found


def calibrated(made, out, **options):
    run = curated.run(made.corpus.uri, "calibrate")
    given = {"name": "main", "labels": None, "prior": 0.5, "most": 20_000, "seed": 0} | options
    lines = list(calibrate(run.run, run.stages["embed"], run.stages["dedup"], out=out, **given))
    return lines, load_calibration(out)


def labels(folder, rows, head=("id", "matched")):
    file = folder / "labels.csv"
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([head, *rows])
    return file


@pytest.fixture(scope="module")
def planted(made):
    rows = [(i, not wrong) for i, wrong in zip(made.ids, made.wrong, strict=True)]
    return calibrated(
        made, made.folder / "planted.json", labels=labels(made.folder, rows), prior=0.75
    )


@pytest.mark.slow
def test_planted_wrong_captions_are_told_apart_as_well_as_by_any_threshold(planted):
    found = planted[1].fitted
    assert found["held_out"]["matched"] + found["held_out"]["mismatched"] > 0.45 * COUNT
    assert found["auc"] == pytest.approx(found["auc_raw"], abs=1e-4)
    assert [cut["threshold"] for cut in found["cuts"]] == [0.30, 0.65]
    for cut in found["cuts"]:
        assert cut["best_precision"] - cut["precision"] <= 0.02
        assert cut["best_recall"] - cut["recall"] <= 0.02
        assert cut["recall"] > 0.1
    assert any("precision 0." in line and "best over all thresholds" in line for line in planted[0])


@pytest.mark.slow
def test_the_error_is_small_by_decile_and_the_map_rises(planted):
    _, calibration = planted
    assert (np.diff(calibration.scores) > 0).all()
    assert (np.diff(calibration.values) > 0).all()
    assert calibration.fitted["largest_error"] <= 0.05
    assert len(calibration.fitted["deciles"]) == 10
    assert calibration.fitted["brier"] < calibration.fitted["brier_raw"]


@pytest.mark.slow
def test_shuffled_pairs_agree_with_the_truth_that_they_imply(made, tmp_path):
    lines, calibration = calibrated(made, tmp_path / "c.json")
    assert calibration.fitted["largest_error"] <= 0.05
    # Own captions, of which a quarter is wrong, among as many of others.
    said = calibration.apply(made.cosines)
    assert said[~made.wrong].mean() > said[made.wrong].mean() + 0.15
    assert abs(said.mean() - 0.5) < 0.1
    assert sum(calibration.fitted["routed"].values()) == COUNT
    # The figures are of the pairs that were not fitted on.
    fit, held = (sum(calibration.fitted[part].values()) for part in ("fit", "held_out"))
    assert sum(decile["pairs"] for decile in calibration.fitted["deciles"]) == held != fit
    assert f"{tmp_path / 'c.json'}; use it with score.calibration.main=" in lines[-2]
    assert not any("too few" in line for line in lines)


@pytest.mark.slow
def test_the_same_bytes_whatever_the_shards(made, tmp_path):
    images, texts = subjects(200)
    files = []
    for shards in (1, 3):
        other = vector_corpus(tmp_path / str(shards), images, texts, shards)
        calibrated(other, tmp_path / f"{shards}.json", most=150)
        files.append((tmp_path / f"{shards}.json").read_bytes())
    assert files[0] == files[1]
    assert json.loads(files[0])["fitted"]["records"] == 150
    calibrated(other, tmp_path / "seed.json", most=150, seed=1)
    assert (tmp_path / "seed.json").read_bytes() != files[0]


def test_copies_and_equal_captions_are_no_mismatches(tmp_path):
    images, texts = subjects(300)
    texts[:] = texts[0]
    made = vector_corpus(tmp_path, images, texts)
    with pytest.raises(RequestError, match="too few pairs"):
        calibrated(made, tmp_path / "c.json")
    images, texts = subjects(300)
    images[:] = images[0]
    made = vector_corpus(tmp_path / "same", images, texts)
    with pytest.raises(RequestError, match="too few pairs"):
        calibrated(made, tmp_path / "c.json")


@pytest.mark.slow
def test_the_page_shows_error_bars_both_kinds_and_where_captions_go(planted):
    lines, calibration = planted
    page = Path(lines[-1]).read_text(encoding="utf-8")
    text = Text(page).text
    assert page.count("<circle") == 10
    assert page.count("h8M") == 10  # a bar with its two ends at each point
    assert "mismatched" in text
    assert f"{calibration.fitted['routed']['preserve']:,}" in text
    assert "<script" not in page
    beside = json.loads((Path(lines[-1]).parent / "calibration.json").read_text())
    assert beside["fitted"]["routed"] == calibration.fitted["routed"]


@pytest.mark.slow
def test_few_pairs_say_so(made, tmp_path):
    lines, _ = calibrated(made, tmp_path / "c.json", most=400)
    assert any(line.startswith("too few pairs to tell an error of 0.05") for line in lines)
    assert "Too few pairs" in Path(lines[-1]).read_text(encoding="utf-8")


def test_every_row_of_the_labels_is_accounted_for(made, tmp_path):
    rows = [(i, 1 - int(w)) for i, w in zip(made.ids[:400], made.wrong[:400], strict=True)]
    rows += [("nobody", 1), ("", 0), (made.ids[500], "perhaps")]
    lines, calibration = calibrated(made, tmp_path / "c.json", labels=labels(tmp_path, rows))
    assert "403 rows, 400 used" in lines[0]
    assert "2 match no record" in lines[0]
    assert "1 are neither true nor false" in lines[0]
    assert calibration.fitted["labels"] == lines[0]


def test_labels_may_bring_their_own_similarity(made, tmp_path):
    rows = [(f"{place}.png", "yes", 0.9) for place in range(100)]
    rows += [(f"{place}.png", "no", 0.1) for place in range(100)]
    rows += [("3.png", "yes", "nan"), ("4.png", "no", "")]
    file = labels(tmp_path, rows, ("key", "matched", "similarity"))
    lines, calibration = calibrated(made, tmp_path / "c.json", labels=file)
    assert "200 used; left out: 2 have no finite similarity" in lines[0]
    low, high = calibration.apply(np.array([0.1, 0.9]))
    assert low < 0.05
    assert high > 0.95


def test_what_is_missing_is_said(made, tmp_path):
    out = tmp_path / "c.json"
    with pytest.raises(RequestError, match="no such embedding model; available: main"):
        calibrated(made, out, name="clip")
    with pytest.raises(RequestError, match=r"required: id \(or key\) and matched"):
        calibrated(made, out, labels=labels(tmp_path, [], ("id", "rating")))
    with pytest.raises(RequestError, match=r"must end in \.csv or \.parquet"):
        calibrated(made, out, labels=tmp_path / "labels.txt")
    with pytest.raises(RequestError, match="0 used; left out: 1 match no record"):
        calibrated(made, out, labels=labels(tmp_path, [("nobody", 1)]))
    bare = SimpleNamespace(corpus=small_corpus(tmp_path / "bare"))
    with pytest.raises(RequestError, match=r"has no vectors.*run: nucleus embed"):
        calibrated(bare, out)
    assert not out.exists()


def test_records_without_a_picture_s_vector_are_told(tmp_path):
    images, texts = (list(rows) for rows in subjects(203))
    images[:2], texts[2] = [None, None], np.zeros(len(texts[2]))
    made = vector_corpus(tmp_path / "c", images, texts)
    lines, calibration = calibrated(made, tmp_path / "c.json")
    assert calibration.fitted["records"] == 200
    assert "  3 more have no picture or caption vector" in lines

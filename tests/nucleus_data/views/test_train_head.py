"""Heads on stored vectors whose ratings are known."""

import csv

import numpy as np
import pytest

from nucleus_data.engines.heads import load_heads
from nucleus_data.errors import RequestError
from nucleus_data.views.copies import clusters
from nucleus_data.views.train_head import train
from tests.support import curated
from tests.support.vectors import USED, subjects, vector_corpus, write_pairs

COUNT = 300


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Pictures that a line through their vectors rates."""
    folder = tmp_path_factory.mktemp("heads")
    images, _ = subjects(COUNT)
    found = vector_corpus(folder, images, [None] * COUNT)
    found.folder = folder
    found.truth = 5 + images[:, :USED] @ np.linspace(-2, 2, USED)
    return found


def table(folder, rows, head=("id", "rating")):
    file = folder / "ratings.csv"
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([head, *rows])
    return file


def rated(made, noise=0.3, rater=""):
    noise = noise * np.random.default_rng(len(rater)).standard_normal(COUNT)
    ratings = np.round(made.truth + noise, 2)
    return [(i, float(r), rater) for i, r in zip(made.ids, ratings, strict=True)]


HEAD = ("id", "rating", "rater")


def trained(made, out, file, **options):
    run = curated.run(made.corpus.uri, "train-head")
    given = {"model": "main", "name": "taste", "kind": "value", "folds": 5, "seed": 0} | options
    stages = run.stages
    return list(train(run.run, stages["embed"], stages["dedup"], ratings=file, out=out, **given))


@pytest.mark.slow
def test_a_head_is_trained_saved_and_told_on_a_card(made, tmp_path):
    rows = [row for rater in ("a", "bb") for row in rated(made, 0.5, rater)]
    lines = trained(made, tmp_path / "h", table(tmp_path, rows, HEAD))
    assert "600 rows, 600 used" in lines[0]
    assert "300 pictures; rank correlation" in lines[1]
    assert any(line.startswith("agreement between raters: 0.") for line in lines)
    heads = load_heads(tmp_path / "h")
    assert heads.model == "nano"
    images, _ = subjects(COUNT)
    said = heads.scores(images.astype(np.float32))["taste"]
    assert np.corrcoef(said, made.truth)[0, 1] > 0.95
    card = (tmp_path / "h/README.md").read_text()
    for text in ("## taste", "600 rows", "| pictures | 300", "95 %", "Limits", "raters | 2;"):
        assert text in card
    assert str(tmp_path) not in card


@pytest.mark.slow
def test_the_same_bytes_twice_and_another_seed_other_folds(made, tmp_path):
    again = table(tmp_path, rated(made)[::-1], HEAD).rename(tmp_path / "turned.csv")
    file = table(tmp_path, rated(made), HEAD)
    one, two, three = (tmp_path / name for name in "123")
    trained(made, one, file)
    trained(made, two, again)
    trained(made, three, file, seed=1)
    weights = "heads.safetensors"
    assert (one / weights).read_bytes() == (two / weights).read_bytes()
    assert (one / "README.md").read_text() != (three / "README.md").read_text()


@pytest.mark.slow
def test_a_second_head_joins_the_folder_and_the_card(made, tmp_path):
    file = table(tmp_path, [(i, int(t > 5)) for i, t in zip(made.ids, made.truth, strict=True)])
    trained(made, tmp_path / "h", file)
    trained(made, tmp_path / "h", file, name="good", kind="probability")
    heads = load_heads(tmp_path / "h")
    assert {name: head.kind for name, head in heads.heads.items()} == {
        "taste": "value",
        "good": "probability",
    }
    card = (tmp_path / "h/README.md").read_text()
    assert card.count("# Heads on vectors of nano") == 1
    assert card.index("## taste") < card.index("## good")


@pytest.fixture
def refused(made, tmp_path):
    """Nothing is trained, and the folder stays as it was."""

    def check(rows, said, head=("id", "rating"), **options):
        with pytest.raises(RequestError, match=said):
            trained(made, tmp_path / "h", table(tmp_path, rows, head), **options)
        assert not (tmp_path / "h").exists()

    return check


def test_bad_input_is_said(made, refused):
    good = [(i, float(t)) for i, t in zip(made.ids, made.truth, strict=True)]
    refused(good, r"required: id \(or key\) and rating; optional: rater", head=("id", "stars"))
    refused(good, "columns name, rating", head=("name", "rating"))
    refused([("nobody", 1)], "1 row, 0 used; left out: 1 match no record")
    refused(good[:30], "too few rated pictures: 30, .* at least 50 are needed")
    refused([(i, 3) for i, _ in good], "every picture is rated 3")
    refused(good, "ratings are not within 0 to 1", kind="probability")
    refused(good, "'Taste' can't be the name of a head", name="Taste")


@pytest.mark.slow
def test_a_name_that_is_taken_is_said_before_the_work(made, tmp_path, monkeypatch):
    file = table(tmp_path, rated(made), HEAD)
    trained(made, tmp_path / "h", file)
    monkeypatch.setattr("nucleus_data.views.train_head.train_head", None)  # would raise
    with pytest.raises(RequestError, match="already has a head 'taste'"):
        trained(made, tmp_path / "h", file)


@pytest.mark.slow
def test_every_row_is_accounted_for(made, tmp_path):
    rows = [*rated(made), ("nobody", 1, ""), (made.ids[0], "nan", ""), (made.ids[1], "", "")]
    rows.append((made.ids[2], "much", ""))
    lines = trained(made, tmp_path / "h", table(tmp_path, rows, HEAD))
    assert lines[0].endswith(
        "304 rows, 300 used; left out: 1 match no record, 3 have no finite rating"
    )


@pytest.mark.slow
def test_ratings_by_key_and_pictures_without_a_vector(tmp_path):
    images = [*subjects(100)[0], None]
    made = vector_corpus(tmp_path, images, [None] * 101)
    made.truth = np.arange(101)
    rows = [(f"{place}.png", place) for place in range(101)]
    lines = trained(made, tmp_path / "h", table(tmp_path, rows, ("key", "rating")))
    assert "101 rows, 100 used; left out: 1 have no vector" in lines[0]


def test_copies_are_clusters_through_pictures_that_nobody_rated(tmp_path):
    made = vector_corpus(tmp_path, subjects(3)[0], [None] * 3)
    pairs = write_pairs(made.corpus, ("b", "x"), ("x", "y"), ("y", "d"), ("c", "z"))
    found = clusters(made.corpus, pairs, ["a", "b", "c", "d"])
    assert found == {"a": "a", "b": "b", "c": "c", "d": "b"}
    assert clusters(made.corpus, None, ["b", "d"]) == {"b": "b", "d": "d"}


def test_copies_are_in_one_fold(made, tmp_path, monkeypatch):
    links = [(one, other) for one, other in zip(made.ids, made.ids[1:], strict=False)]
    links = [link for number, link in enumerate(links) if number % 3]  # clusters of three
    pairs = write_pairs(made.corpus, *links)
    seen = {}

    def stop(vectors, ratings, groups, folds, kind, seed):
        seen.update(groups=groups, folds=folds)
        raise RequestError("enough")

    monkeypatch.setattr("nucleus_data.views.train_head.pairs_found", lambda *_: pairs)
    monkeypatch.setattr("nucleus_data.views.train_head.train_head", stop)
    with pytest.raises(RequestError, match="enough"):
        trained(made, tmp_path / "h", table(tmp_path, rated(made), HEAD))
    assert 90 < len(set(seen["groups"])) < 110
    assert len(set(zip(seen["groups"], seen["folds"], strict=True))) == len(set(seen["groups"]))
    assert len(set(seen["folds"])) == 5

"""The score stage on a made-up model's vectors."""

import json

import numpy as np
import pytest

from nucleus_data.engines.calibration import Calibration
from nucleus_data.engines.heads import load_heads
from nucleus_data.errors import RequestError
from nucleus_data.line.recipe import load_recipe
from nucleus_data.stages.score import models
from nucleus_data.world.corpora import small_corpus, write_shard
from tests.support import curated
from tests.support.curated import picture
from tests.support.embedded import FakeClip, heads_folder, model_folder
from tests.support.scored import stored, unit, write_vectors

CAPTIONS = ("a boat", None, "one eel", "a sea", "an oar")
TAGS = "score.tags={sea: aaa, eel: eee}"


@pytest.fixture
def revision(tmp_path):
    return model_folder(tmp_path / "clip")


@pytest.fixture
def settings(tmp_path, revision):
    heads_folder(tmp_path / "heads", revision=revision)
    return (
        f"embed.model={tmp_path / 'clip'}",
        f"score.heads={tmp_path / 'heads'}",
        "select.rules={}",
    )


@pytest.fixture
def corpus(tmp_path):
    """One shard of five pictures, all kept; one has no caption."""
    made = small_corpus(tmp_path / "c", shards=0)
    images = {f"{i}.png": picture(i) for i in range(len(CAPTIONS))}
    captions = dict(zip(images, CAPTIONS, strict=True))
    write_shard(made, 0, images, {k: c for k, c in captions.items() if c})
    curated.inspect(made)
    return made


def begun(corpus, *settings):
    """A run with a selection and no vectors."""
    run = curated.run(corpus.uri, "score", *settings)
    run.do("dedup", "select")
    return run


def test_scores_are_those_of_the_stored_vectors(corpus, settings, tmp_path):
    run = begun(corpus, *settings)
    images, texts = write_vectors(run, *range(5))
    run.do("score")
    heads = load_heads(tmp_path / "heads")
    for row, score in stored(run, "embed.heads").items():
        assert score["a"] == heads.scores(unit(images[row])[None])["a"][0]
        assert 0 < score["b"] < 1
    cosines = {row: found["caption_cosine"] for row, found in stored(run, "embed.match").items()}
    assert cosines.pop(1) is None
    for row, cosine in cosines.items():
        # To the last bit as the stage `embed` made it before.
        other = texts[row].astype(np.float32)
        assert cosine == float(unit(images[row]) @ other / np.linalg.norm(other))


def test_a_record_waits_for_its_vectors_and_a_broken_picture_says_why(corpus, settings):
    run = begun(corpus, *settings)
    run.do("score")
    assert run.lines[-1]["rows"] == 0
    assert run.lines[-1]["extra"] == {"waiting for embed.image": 5, "waiting for embed.text": 5}
    write_vectors(run, 0, 1, 2, broken=(2,))
    run.do("score")
    match, heads = stored(run, "embed.match"), stored(run, "embed.heads")
    assert list(match) == list(heads) == [0, 1, 2]
    assert match[2]["error"] == heads[2]["error"] == "truncated_header"
    assert [found["error"] for found in (match[0], match[1])] == [None, None]
    write_vectors(run, 3, 4)
    run.do("score")
    assert run.lines[-1]["tables"]["embed.heads"]["already"] == 3
    assert list(stored(run, "embed.match")) == [0, 1, 2, 3, 4]


def test_other_heads_score_again_without_pictures_or_vectors(corpus, settings, tmp_path):
    run = begun(corpus, *settings)
    write_vectors(run, *range(5))
    run.do("score")
    described = (tmp_path / "heads/heads.json").read_text()
    (tmp_path / "heads/heads.json").write_text(
        described.replace('"b": "probability"', '"b": "value"')
    )
    again = begun(corpus, *settings)
    again.do("score")
    assert again.lines[-1]["tables"]["embed.match"]["done"] == 0
    new, old = stored(again, "embed.heads"), stored(run, "embed.heads")
    assert [row["a"] for row in new.values()] == [row["a"] for row in old.values()]
    assert [row["b"] for row in new.values()] != [row["b"] for row in old.values()]
    assert again.tables["embed.image"] == run.tables["embed.image"]


@pytest.mark.slow
def test_calibration_makes_a_similarity_and_its_own_table(corpus, settings, revision, tmp_path):
    plain = begun(corpus, *settings)
    write_vectors(plain, *range(5))
    plain.do("score")
    content = Calibration("clip", revision, (-1.0, 0.0, 1.0), (0.0, 0.4, 1.0)).content()
    file = tmp_path / "calibration.json"
    file.write_text(json.dumps(content))
    run = begun(corpus, *settings, f"score.calibration.main={file}")
    run.do("score")
    assert run.tables["embed.match"] != plain.tables["embed.match"]
    assert run.tables["embed.heads"] == plain.tables["embed.heads"]
    for row, found in stored(run, "embed.match").items():
        raw = stored(plain, "embed.match")[row]["caption_cosine"]
        assert found["caption_cosine"] == raw
        if raw is None:
            assert found["caption_similarity"] is None
        else:
            expected = np.float32(np.interp(raw, [-1, 0, 1], [0, 0.4, 1]))
            assert found["caption_similarity"] == expected
    inline = begun(corpus, *settings, f"score.calibration={{main: {json.dumps(content)}}}")
    assert inline.tables["embed.match"] == run.tables["embed.match"]


def test_tags_are_cosines_with_texts_and_the_nearest(corpus, settings, monkeypatch):
    clip = FakeClip()
    monkeypatch.setattr(models, "load_clip", lambda *given, **options: clip)
    run = begun(corpus, *settings, TAGS)
    images, _ = write_vectors(run, 0, 1, 2, broken=(1,))
    run.do("score")
    assert clip.texts_asked == ["aaa", "eee"]
    texts = clip.texts(["aaa", "eee"])
    tags = stored(run, "embed.tags")
    assert tags[1] == {**tags[1], "tag": None, "tag_sea": None, "error": "truncated_header"}
    for row in (0, 2):
        cosines = texts @ unit(images[row])
        np.testing.assert_allclose([tags[row]["tag_sea"], tags[row]["tag_eel"]], cosines, rtol=1e-5)
        assert tags[row]["tag"] == ("sea", "eel")[cosines.argmax()]
    select = begun(corpus, *settings, TAGS, "select.rules={eels: tag = 'eel' OR tag_sea < -2}")
    assert select.select()["pending"] == 2


def test_what_rules_read_of_scores_decides(corpus, settings):
    rules = "select.rules={odd: 'caption_cosine < 2', low: 'a < -9'}"
    run = begun(corpus, *settings[:2], rules)
    assert run.select() == {"kept": 0, "rejected": 0, "duplicate": 0, "failed": 0, "pending": 5}
    write_vectors(run, *range(5), broken=(3,))
    run.do("score")
    again = curated.run(corpus.uri, "select", *settings[:2], rules)
    assert again.select() == {"kept": 1, "rejected": 3, "duplicate": 0, "failed": 1, "pending": 0}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("score.heads=[nano]", r"score\.heads: those of 'nano' were trained on the embeddings of"),
        ("score.calibration={other: x.json}", "embed has no such model; available: main"),
        ("score.calibration={main: x.json}", r"x\.json is not a calibration"),
        ("score.tags={Photo: a photograph}", r"score\.tags\.Photo"),
        ("embed.heads=nano", r"embed\.heads moved to score\.heads \(override 'embed\.heads=nano'"),
    ],
)
def test_what_does_not_fit_is_refused(corpus, settings, override, message):
    with pytest.raises(RequestError, match=message):
        curated.run(corpus.uri, "score", *settings, override)


def test_two_folders_must_not_name_one_column(corpus, settings, tmp_path, revision):
    heads_folder(tmp_path / "more", revision=revision)
    both = f"score.heads=[{tmp_path / 'heads'}, {tmp_path / 'more'}]"
    with pytest.raises(RequestError, match="both have a head 'a'"):
        curated.run(corpus.uri, "score", *settings, both)


def test_a_calibration_of_another_revision_is_refused(corpus, settings):
    content = Calibration("clip", "another", (-1.0, 1.0), (0.0, 1.0)).content()
    given = f"score.calibration={{main: {json.dumps(content)}}}"
    with pytest.raises(RequestError, match="was fitted on cosines of 'clip', revision 'another'"):
        curated.run(corpus.uri, "score", *settings, given)


def test_without_a_model_there_is_no_table(corpus, settings):
    run = curated.run(corpus.uri, "score", *settings, "embed.model=null")
    assert not any(name.startswith("embed.") for name in run.tables)
    with pytest.raises(RequestError, match=r"embed\.model is not set"):
        run.do("score")


def test_heads_in_an_old_configuration_are_said_to_have_moved(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("embed: {model: nano, heads: nano}\n")
    with pytest.raises(RequestError, match=r"embed\.heads moved to score\.heads"):
        load_recipe(file)

"""The embed stage with a made-up model; the real one is in test_embedding.py."""

import numpy as np
import pytest

from nucleus_data.corpus.tables import Table
from nucleus_data.engines.heads import load_heads
from nucleus_data.errors import RequestError
from nucleus_data.line.lines import LINES
from nucleus_data.line.steps import without_missing
from nucleus_data.stages.embed import stage as module
from nucleus_data.views.explain import explain, explain_lines
from nucleus_data.world.corpora import small_corpus, write_shard
from tests.support import curated
from tests.support.curated import picture
from tests.support.embedded import FakeClip, heads_folder, model_folder

RULES = (
    "select.rules={small: 'least(width, height) < 32', low: 'a < -9', odd: 'caption_cosine < 2'}"
)


@pytest.fixture
def clip(monkeypatch):
    made = FakeClip()
    monkeypatch.setattr(module, "load_clip", lambda *given: made)
    return made


@pytest.fixture
def settings(tmp_path):
    revision = model_folder(tmp_path / "clip")
    heads_folder(tmp_path / "heads", revision=revision)
    return (f"embed.model={tmp_path / 'clip'}", f"score.heads={tmp_path / 'heads'}")


@pytest.fixture
def corpus(tmp_path):
    """One shard: two pictures with captions, one without, a tiny one, and a broken file."""
    made = small_corpus(tmp_path / "c", shards=0)
    pictures = {name: picture(i) for i, name in enumerate(("one.png", "two.png", "three.png"))}
    pictures |= {"tiny.png": picture(7, (36, 24)), "broken.png": picture(8)[:90]}
    write_shard(made, 0, pictures, {"one.png": "a boat", "two.png": "  ", "three.png": "one eel"})
    curated.inspect(made)
    return made


def decided(corpus, *overrides, line=("dedup", "select")):
    made = curated.run(corpus.uri, "curate", *overrides)
    for step in line:
        made.do(step)
    keys = {r["id"]: r["key"] for r in corpus.records.read(0).to_pylist()}
    rows = curated.table(corpus, "selection", made.tables["selection"])
    return made, {keys[row["id"]]: row for row in rows}


def test_what_waits_for_scores_is_embedded_and_then_decided(corpus, clip, settings):
    _, rows = decided(corpus, RULES, *settings)
    assert {key: row["state"] for key, row in rows.items()} == {
        "one.png": "pending",
        "two.png": "pending",
        "three.png": "pending",
        "tiny.png": "rejected",
        "broken.png": "failed",
    }
    assert sorted(rows["one.png"]["pending_on"]) == ["embed.heads", "embed.match"]
    made, rows = decided(corpus, RULES, *settings, line=("embed", "score", "select"))
    assert sum(clip.images_asked) == 3
    assert clip.texts_asked == ["a boat", "one eel"]
    states = {key: (row["state"], row["reasons"], row["nulls"]) for key, row in rows.items()}
    assert states["one.png"] == ("rejected", ["odd"], [])
    assert states["two.png"] == ("kept", [], ["odd"])
    assert states["tiny.png"][0] == "rejected"
    table = Table(corpus.store, "embed.match", made.tables["embed.match"]).read(0)
    assert table.num_rows == 3


def test_scores_are_of_the_stored_vector_and_other_heads_need_no_image(
    corpus, clip, settings, tmp_path, monkeypatch
):
    made, _ = decided(corpus, *settings, line=("dedup", "select", "embed", "score"))
    vectors = curated.table(corpus, "embed.image", made.tables["embed.image"])
    scores = curated.table(corpus, "embed.heads", made.tables["embed.heads"])
    heads = load_heads(tmp_path / "heads")
    for vector, score in zip(vectors, scores, strict=True):
        unit = np.array(vector["image_embedding"], np.float32)
        unit /= np.linalg.norm(unit)
        assert score["a"] == heads.scores(unit[None])["a"][0]
    described = (tmp_path / "heads/heads.json").read_text()
    (tmp_path / "heads/heads.json").write_text(
        described.replace('"b": "probability"', '"b": "value"')
    )
    asked = sum(clip.images_asked)
    monkeypatch.setattr("nucleus_data.runner.rows.read_images", None)  # would raise
    again, _ = decided(corpus, *settings, line=("dedup", "select", "embed", "score"))
    assert sum(clip.images_asked) == asked
    assert again.tables["embed.image"] == made.tables["embed.image"]
    assert again.tables["embed.heads"] != made.tables["embed.heads"]
    new = curated.table(corpus, "embed.heads", again.tables["embed.heads"])
    assert [row["a"] for row in new] == [row["a"] for row in scores]
    assert [row["b"] for row in new] != [row["b"] for row in scores]


@pytest.mark.parametrize("batch", [2, 64])
def test_batches_change_no_byte(corpus, clip, settings, batch, tmp_path):
    made, _ = decided(corpus, *settings, line=("dedup", "select", "embed", "score"))
    names = [name for name in made.tables if name.startswith("embed.")]
    folder = tmp_path / "c/tables"
    files = {p.relative_to(folder): p.read_bytes() for n in names for p in folder.glob(f"{n}/*/*")}
    for path in files:
        (folder / path).unlink()
    clip.batch = batch
    decided(corpus, *settings, line=("embed", "score"))
    assert files == {path: (folder / path).read_bytes() for path in files}


def test_a_picture_that_cannot_be_read_has_a_reason(corpus, clip, settings):
    made, _ = decided(corpus, *settings)
    stage = made.stages["embed"]
    stage.setup()
    rows = list(made.job("embed").open(0).rows())
    rows[0].image = b"no picture"
    failed, *others = stage.process(iter(rows))
    assert failed.reason == "not_an_image"
    assert len(others) == len(rows) - 1 == 2


def test_without_a_model_the_line_is_shorter_and_the_command_says_why(corpus, settings):
    stages = curated.recipe(corpus.uri, "embed.model=null").stages()
    assert without_missing(stages, LINES["curate"].steps) == [
        *("inspect", "dedup", "compare", "select")
    ]
    assert without_missing(stages, LINES["all"].steps)[:6] == [
        *("ingest", "inspect", "dedup", "compare", "select", "caption")
    ]
    with pytest.raises(RequestError, match=r"embed\.model is not set"):
        curated.run(corpus.uri, "embed", "embed.model=null").do("embed")


def test_heads_of_another_model_stop_before_anything(corpus, settings, tmp_path):
    heads_folder(tmp_path / "heads", revision="another")
    with pytest.raises(RequestError, match=r"score\.heads: .*trained on the embeddings of"):
        curated.run(corpus.uri, "embed", *settings)


def test_a_signal_s_name_is_used_once(corpus, settings, tmp_path):
    described = (tmp_path / "heads/heads.json").read_text().replace('"a"', '"width"')
    (tmp_path / "heads/heads.json").write_text(described)
    (tmp_path / "heads/heads.safetensors").unlink()
    with pytest.raises(RequestError, match="heads"):
        curated.run(corpus.uri, "select", *settings)


def test_explain_shows_the_beginning_of_a_vector(corpus, clip, settings):
    decided(corpus, *settings, line=("dedup", "select", "embed", "score"))
    key = corpus.records.read(0).column("id")[0].as_py()
    text = "\n".join(explain_lines(explain(corpus, key)))
    assert "caption_cosine" in text
    assert "image_embedding" in text

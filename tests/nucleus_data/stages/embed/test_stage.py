"""The embed stage with a made-up model; the real one is in test_embedding.py."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from nucleus_data.corpus.tables import Table
from nucleus_data.engines.heads import load_heads
from nucleus_data.errors import RequestError
from nucleus_data.line.lines import LINES
from nucleus_data.line.steps import without_missing
from nucleus_data.runner.actor import StageActor
from nucleus_data.stages.embed import batches
from nucleus_data.stages.embed import stage as module
from nucleus_data.views.explain import explain, explain_lines
from nucleus_data.world.corpora import small_corpus, write_shard
from tests.support import curated
from tests.support.curated import picture
from tests.support.embedded import FakeClip, heads_folder, model_folder
from tests.support.quick import quick

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


@pytest.mark.slow
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
    assert clip.prepared == 3
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
    asked = clip.prepared
    monkeypatch.setattr("nucleus_data.runner.rows.read_images", None)  # would raise
    again, _ = decided(corpus, *settings, line=("dedup", "select", "embed", "score"))
    assert clip.prepared == asked
    assert again.tables["embed.image"] == made.tables["embed.image"]
    assert again.tables["embed.heads"] != made.tables["embed.heads"]
    new = curated.table(corpus, "embed.heads", again.tables["embed.heads"])
    assert [row["a"] for row in new] == [row["a"] for row in scores]
    assert [row["b"] for row in new] != [row["b"] for row in scores]


@pytest.mark.slow
@pytest.mark.parametrize("batch", quick([2, 64], 1))
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


@pytest.mark.slow
def test_further_models_have_tables_of_their_own_beside_the_first(corpus, clip, settings):
    model = settings[0].removeprefix("embed.model=")
    named = f"embed.models={{other: {{model: '{model}', batch: 3}}}}"
    made, _ = decided(corpus, *settings, named, line=("dedup", "select", "embed"))
    alone, _ = decided(corpus, *settings)
    # The table of all models' cosines is another one then, and with it what reads it.
    for table in alone.tables:
        assert made.tables[table] == alone.tables[table] or table in ("embed.match", "selection")
    own = curated.table(corpus, "embed.image", made.tables["embed.image"])
    other = curated.table(corpus, "embed.image.other", made.tables["embed.image.other"])
    assert [row["other_image_embedding"] for row in other] == [r["image_embedding"] for r in own]
    assert all(row["other_logit_scale_bias"] == [10, -5] for row in other)
    assert all(row["logit_scale_bias"] == [10, -5] for row in own)
    texts = curated.table(corpus, "embed.text.other", made.tables["embed.text.other"])
    assert [row["other_text_embedding"] is None for row in texts] == [
        row["text_embedding"] is None
        for row in curated.table(corpus, "embed.text", made.tables["embed.text"])
    ]
    # Without the first one, theirs are the only tables, and are found as they are.
    prepared = clip.prepared
    only, _ = decided(corpus, "embed.model=null", "score.heads=[]", named, line=("embed",))
    assert [n for n in only.tables if n.startswith("embed.")] == [
        "embed.image.other",
        "embed.text.other",
        "embed.match",
    ]
    assert only.tables["embed.image.other"] == made.tables["embed.image.other"]
    assert clip.prepared == prepared


def test_the_batch_and_the_library_are_part_of_the_hash_and_the_device_is_not(corpus, settings):
    def tables(*overrides):
        pins = curated.recipe(corpus.uri, settings[0], "score.heads=[]", *overrides).pins()
        return pins.tables["embed.image"], pins.tables["embed.text"]

    assert tables() == tables("embed.batch=16")
    assert tables("embed.device=cuda") == tables("embed.device=mps") != tables()
    assert tables("embed.device=cuda", "embed.batch=16")[0] == tables()[0]
    for image, text in zip(tables(), tables("embed.batch=32"), strict=True):
        assert image != text
    with pytest.raises(RequestError, match="batch"):
        tables("embed.batch=0")
    with pytest.raises(RequestError, match="models"):
        tables("embed.models={Big: {model: nano}}")


def test_a_looser_rule_embeds_only_the_new_rows(corpus, clip, settings):
    small = "select.rules={small: 'least(width, height) < 32'}"
    made, _ = decided(corpus, small, *settings, line=("dedup", "select", "embed"))
    assert (clip.prepared, len(clip.texts_asked)) == (3, 2)
    loose = "select.rules={small: 'least(width, height) < 16'}"
    again, rows = decided(corpus, loose, *settings, line=("dedup", "select", "embed"))
    assert rows["tiny.png"]["state"] == "kept"
    assert (clip.prepared, len(clip.texts_asked)) == (4, 2)
    assert again.tables["embed.image"] == made.tables["embed.image"]
    (line,) = [line for line in again.lines if line["stage"] == "embed"]
    assert (line["rows"], line["already"], line["done"]) == (4, 3, 1)


def test_the_share_of_time_that_the_model_was_busy_is_said(corpus, clip, settings):
    said = []
    made = curated.run(corpus.uri, "curate", *settings, said=said)
    made.do("dedup", "select", "embed")
    assert any("embed: 3 rows" in line and "model busy " in line for line in said)
    (line,) = [line for line in made.lines if line["stage"] == "embed"]
    assert {"model", "model_waits"} < line["seconds_by_phase"].keys()


@pytest.mark.slow
@pytest.mark.parametrize("cpus", [1, 3])
def test_the_threads_are_as_many_as_the_worker_has_cpus(corpus, clip, settings, cpus, monkeypatch):
    asked = []
    pool = batches.ThreadPoolExecutor
    monkeypatch.setattr(
        batches, "ThreadPoolExecutor", lambda n, **named: asked.append(n) or pool(n, **named)
    )
    decided(
        corpus, *settings, f"resources.embed.num_cpus={cpus}", line=("dedup", "select", "embed")
    )
    assert asked == [cpus]


@pytest.mark.slow
def test_an_actor_s_batches_have_rows_of_several_shards(corpus, clip, settings, monkeypatch):
    write_shard(corpus, 1, {f"{i}.png": picture(20 + i) for i in range(3)})
    curated.inspect(corpus)
    made = curated.run(corpus.uri, "curate", *settings)
    made.do("dedup", "select")
    clip.batch = 6
    monkeypatch.setattr(batches, "QUIET_S", 30.0)  # none but a full batch, so no texts
    monkeypatch.setattr(module, "_caption", lambda row: "")
    actor = StageActor(made.job("embed"))
    with ThreadPoolExecutor(2) as calls:
        done = list(calls.map(lambda shard: actor.run_shard(shard, None), (0, 1)))
    assert [summary.done for summary in done] == [3, 3]
    assert (clip.batches, clip.prepared) == (1, 6)
    assert sum("model" in summary.seconds for summary in done) >= 1

"""The step `quick_train`: which samples of which set it takes."""

import json
from pathlib import Path

import pytest

from nucleus_data.errors import RequestError
from nucleus_data.stages.train.mirror import Mirror, place, steps_done
from nucleus_data.world.corpora import small_corpus, write_shard
from nucleus_model.data.loader import TrainingSet
from nucleus_model.settings.choice import choose
from nucleus_model.training.train import quick_train
from tests.support import curated
from tests.support.curated import picture
from tests.support.model import write_qwen

SETTINGS = (
    "select.rules={}",
    "shard.captions=[source]",
    "shard.samples_per_tar=4",
    "quick_train.holdout_share=0.3",
    "quick_train.preset=debug",
    "quick_train.codec=space_to_depth",
    "quick_train.codec_factor=2",
    "quick_train.steps=2",
    "quick_train.sample_steps=1",
)


@pytest.fixture
def corpus(tmp_path):
    """12 pictures with web captions, inspected and selected, all kept."""
    made = small_corpus(tmp_path / "c", shards=0)
    images = {f"{i}.png": picture(i) for i in range(12)}
    write_shard(made, 0, images, {key: f"picture {key}" for key in images})
    run = curated.run(made.uri, "curate", *SETTINGS)
    run.do("inspect")
    run.do("dedup")
    assert run.select()["kept"] == 12
    return made


def look(corpus, *overrides, **options):
    said = []
    run = curated.run(
        corpus.uri, "quick-train", *SETTINGS, *overrides, said=said, dry_run=True, **options
    )
    run.do("quick_train")
    return said[-1]


@pytest.mark.slow
def test_a_dry_run_counts_the_samples(corpus):
    assert "images on sets/" in look(corpus)
    assert "which does not exist yet" in look(corpus)
    run = curated.run(corpus.uri, "shard", *SETTINGS)
    run.do("shard")
    ids = [sample.id for sample in TrainingSet(corpus.store.url(run.training_set)).samples]
    assert len(ids) == 12
    for options in ({}, {"limit": 8}, {"sample": 0.7}, {"sample": 0.7, "limit": 6}):
        train, held = choose(ids, run.recipe.quick_train.model_copy(update=options))
        line = f"of 12 samples {len(train)} to train on, {len(held)} held out ({run.training_set})"
        assert line in look(corpus, **options)
    assert len(train) + len(held) < 8
    said = look(corpus, "quick_train.limit=8", limit=6)
    assert said == look(corpus, limit=6)
    with pytest.raises(RequestError, match=r"quick_train on sets/.*: a limit of 1 leaves 1 of the"):
        look(corpus, limit=1)
    with pytest.raises(RequestError, match=r"no samples at resolution 32; available: 64"):
        look(corpus, "quick_train.resolution=32")


def test_too_little_is_told_before_anything_starts(corpus, monkeypatch):
    monkeypatch.setattr("nucleus_data.stages.train.stage._trained", None)  # no task can be sent
    curated.run(corpus.uri, "shard", *SETTINGS).do("shard")
    run = curated.run(corpus.uri, "quick-train", *SETTINGS, limit=1)
    with pytest.raises(RequestError, match=r"1 of the set's 12 samples: .* use \d+ or"):
        run.do("quick_train")


@pytest.mark.slow
def test_a_set_that_was_made_with_the_limit_is_taken_whole(corpus):
    sampled = curated.run(corpus.uri, "shard", *SETTINGS, sample=0.7)
    sampled.do("shard")
    ids = [sample.id for sample in TrainingSet(corpus.store.url(sampled.training_set)).samples]
    train, held = choose(ids, sampled.recipe.quick_train)
    assert 0 < len(ids) == len(train) + len(held) < 12
    said = look(corpus, sample=0.7)
    assert f"of {len(ids)} samples {len(train)} to train on, {len(held)} held out" in said
    limited = curated.run(corpus.uri, "shard", *SETTINGS, limit=6)
    limited.do("shard")
    said = look(corpus, limit=6)
    assert ("of 6 samples" in said, limited.training_set in said) == (True, True)
    whole = curated.run(corpus.uri, "shard", *SETTINGS)
    whole.do("shard")
    said = look(corpus, limit=6)
    assert ("of 12 samples" in said, whole.training_set in said) == (True, True)


@pytest.mark.slow
def test_a_limit_and_a_sample_reach_the_training(corpus, tmp_path, ray_cluster):
    tower = f"quick_train.text.model={write_qwen(tmp_path / 'qwen')}"
    made = curated.run(corpus.uri, "shard", *SETTINGS)
    made.do("shard")
    for options, count in (({"limit": 7}, 7), ({"sample": 0.7}, None)):
        ids = [sample.id for sample in TrainingSet(corpus.store.url(made.training_set)).samples]
        run = curated.run(corpus.uri, "quick-train", *SETTINGS, tower, **options)
        train, held = choose(ids, run.recipe.quick_train.model_copy(update=options))
        assert len(train) + len(held) == (count or len(train) + len(held)) < 12
        run.do("quick_train")
        summary = json.loads(corpus.store.read(run.path("quick_train/summary.json")))
        assert (summary["train_samples"], summary["holdout_samples"]) == (len(train), len(held))
        assert summary["images"] <= 2 * len(train)
        assert (run.lines[-1]["rows"], run.lines[-1]["done"]) == (12, len(train) + len(held))
    # A line that made its set itself has chosen before: its limit is for what it ingests.
    made.limit = 1
    made.recipe = curated.recipe(corpus.uri, *SETTINGS, tower)
    made.do("quick_train")
    assert made.lines[-1]["done"] == 12


@pytest.mark.slow
def test_a_training_takes_the_edition_of_its_captions_or_the_one_named(corpus):
    made = curated.run(corpus.uri, "shard", *SETTINGS)
    made.do("shard")

    def edition(*overrides):
        run = curated.run(corpus.uri, "quick-train", *SETTINGS, *overrides, dry_run=True)
        run.pin("quick_train")
        assert run.training_set == made.training_set
        return run.stages["quick_train"]._settings(run.run).edition

    first = edition()
    assert first == made.pins.edition
    other = ("shard.captions=[short]",)
    assert "which does not exist yet" in look(corpus, *other)  # the tars are; its captions are not
    named = f"quick_train.edition={first[:6]}"
    assert edition(*other, named) == first
    curated.run(corpus.uri, "shard", *SETTINGS, *other).do("shard")
    assert edition(*other) not in (first, None)
    assert edition(named) == first


@pytest.mark.slow
def test_a_training_that_was_killed_goes_on(corpus, tmp_path, ray_cluster):
    tower = f"quick_train.text.model={write_qwen(tmp_path / 'qwen')}"
    options = (*SETTINGS, tower, "quick_train.steps=6", "quick_train.checkpoint_every=2")
    curated.run(corpus.uri, "shard", *SETTINGS).do("shard")
    whole = curated.run(corpus.uri, "quick-train", *options)
    whole.do("quick_train")
    names = ("metrics.jsonl", "summary.json", "samples.png", "checkpoints/000006/model.safetensors")

    class Killed(Exception):
        pass

    def killed(step, steps, line):
        if step == 5:
            raise Killed

    # The stage trains on the edition of its captions: another one is another training.
    edition, folder = whole.pins.edition, whole.training_set
    settings = whole.recipe.quick_train.model_copy(update={"edition": edition})
    here = place(folder, settings)
    assert steps_done(corpus.store, here) == 0  # what is done needs no copy
    mirror = Mirror(corpus.store, here, tmp_path / "lost")
    with pytest.raises(Killed):
        quick_train(
            corpus.store.url(folder), tmp_path / "lost", settings, None, killed, mirror.push
        )
    said = []
    again = curated.run(corpus.uri, "quick-train", *options, said=said)
    again.do("quick_train")
    assert "quick_train: continues after step 4 of 6" in said
    for name in names:
        one, other = (corpus.store.read(run.path(f"quick_train/{name}")) for run in (whole, again))
        assert one == other, name
    assert corpus.store.list(f"{again.path('quick_train')}/checkpoints/000006") == [
        "checkpoint.json",
        "model.safetensors",
        "optimizer.safetensors",
        "trainer.json",
    ]
    # With these it is extended where it is.
    more = settings.model_copy(update={"steps": 8})
    summary = quick_train(
        corpus.store.url(folder), Path(corpus.store.path(again.path("quick_train"))), more
    )
    assert (summary["steps"], summary["extended"]) == (8, [6])
    assert steps_done(corpus.store, here) == 0

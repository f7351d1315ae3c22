"""The stage `encode`, and a training that takes what it left."""

import pickle

import pytest

from nucleus_data.corpus import local_files
from nucleus_data.corpus.damaged import advice_on
from nucleus_data.errors import RequestError
from nucleus_data.line.steps import without_missing
from nucleus_data.runner.work import ModelTask
from nucleus_data.stages.encode.latents import LatentTask
from nucleus_data.stages.encode.texts import GatherTask, StatesTask, Texts
from tests.support import curated
from tests.support.encodes import SET, Encoding, training


class Killed(BaseException):
    """As `kill -9`: nothing catches it."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Encoded once, and what was said."""
    encoding = Encoding(tmp_path_factory.mktemp("encoded"))
    encoding.first = encoding.run()
    return encoding


def test_nothing_is_encoded_unless_it_is_asked_for(tmp_path):
    stages = curated.recipe(str(tmp_path)).stages()
    assert "set encode.enabled=true" in stages["encode"].missing()
    assert without_missing(stages, ["shard", "encode", "quick_train"]) == ["shard", "quick_train"]


def test_a_dry_run_counts_and_writes_nothing(tmp_path):
    encoding = Encoding(tmp_path, {"32/1x1": 6, "64/1x1": 5, "96/1x1": 2})
    phases = [{"steps": 1, "resolution": side} for side in (64, 32)]
    encoding.run(dry_run=True, settings=training(phases=phases, steps=2))
    assert (
        "latents of 11 samples at 32, 64 pixels in 4 tars; 11 in 4 tars to do" in encoding.said[0]
    )
    assert "text states of up to 22 captions" in encoding.said[1]
    assert encoding.files() == {}
    with pytest.raises(RequestError, match="no samples at resolution 48; available: 32, 64, 96"):
        encoding.run(dry_run=True, settings=training(resolution=48))


def test_for_a_damaged_file_only_that_is_removed(tmp_path):
    store = Encoding(tmp_path, {"64/1x1": 2}).corpus.store
    said = advice_on(store, f"{SET}/encoded/0/texts/encoded.json")
    assert said.startswith("Remove it, and run: nucleus encode corpus=")


def test_tasks_can_be_sent_to_workers():
    texts = Texts("c", {}, "sets/made/0", "e", "x", 3, 1)
    for task in (
        LatentTask("c", {}, "sets/made/0", {64: "x"}, training(), "bf16"),
        GatherTask(texts),
        StatesTask(texts, training(), "fp32"),
    ):
        assert pickle.loads(pickle.dumps(task)) == task


def test_models_are_those_of_actors_and_gathering_needs_none():
    latents = LatentTask("c", {}, "sets/made/0", {64: "x"}, training(), "bf16")
    texts = Texts("c", {}, "sets/made/0", "e", "x", 3, 1)
    assert isinstance(latents, ModelTask)
    assert isinstance(StatesTask(texts, training(), "fp32"), ModelTask)
    assert not isinstance(GatherTask(texts), ModelTask)
    assert curated.recipe("c").workers()["encode"].actors == 1


@pytest.mark.slow
@pytest.mark.parametrize("actors", [1, 3])
def test_actors_of_ray_make_the_same_files(made, tmp_path, ray_cluster, actors):
    from nucleus_data.runner.loop import Loop

    encoding = Encoding(tmp_path)
    noted = encoding.run(
        loop=lambda name, work, resources, size: Loop(name, work, resources), actors=actors
    )
    assert (noted["rows"], noted["done"], noted["failed"]) == (30, 30, 0)
    assert encoding.files() == made.files()


@pytest.mark.slow
def test_every_sample_and_every_text_once(made):
    # 11 latents; 2 captions of each of 9 samples, and the empty text.
    assert (made.first["rows"], made.first["done"], made.first["failed"]) == (30, 30, 0)
    names = [name.partition("/")[2] for name in made.files()]
    assert sorted(names) == [
        *(f"64/{aspect}/00000{n}.safetensors" for aspect in ("1x1", "4x3") for n in (0, 1)),
        "encoded.json",
        "texts/000000.safetensors",
        "texts/encoded.json",
    ]


@pytest.mark.slow
def test_what_is_there_is_not_made_again_and_what_is_missing_is(made):
    before = made.files()
    again = made.run()
    assert (again["rows"], again["already"], again["done"]) == (11, 11, 0)
    lost = [
        name
        for name in before
        if name.endswith(("4x3/000001.safetensors", "texts/000000.safetensors"))
    ]
    for name in lost:
        (made.path / "encoded" / name).unlink()
    made.run(dry_run=True)
    assert "1 in 1 tar to do" in made.said[0]
    assert "1 part to do" in made.said[1]
    assert set(made.files()) == set(before) - set(lost)
    made.run()
    assert made.files() == before


@pytest.mark.slow
def test_a_killed_run_goes_on_with_the_same_bytes(made, tmp_path, monkeypatch):
    other = Encoding(tmp_path)
    link = local_files.link
    for after in range(20):
        writes = iter(range(1000))

        def dies(target, name, write, after=after, writes=writes):
            if "/encoded/" not in name:
                return link(target, name, write)
            if next(writes) == after // 2:
                if after % 2:
                    link(target, name, write)
                raise Killed
            return link(target, name, write)

        monkeypatch.setattr(local_files, "link", dies)
        try:
            other.run()
        except Killed:
            continue
        break
    monkeypatch.setattr(local_files, "link", link)
    other.run()
    assert other.files() == made.files()


@pytest.mark.slow
def test_another_encoder_precision_or_edition_is_another_folder(made, tmp_path):
    before = set(made.files())
    for changes in (
        {"settings": training(codec_factor=4), "texts": False},
        {"settings": training(text={"system_prompt": "Paint."}), "latents": False},
        {"dtype": "bf16"},
    ):
        found = Encoding(tmp_path / str(len(str(changes))))
        found.run(**changes)
        assert not set(found.files()) & before


@pytest.mark.slow
def test_a_training_with_them_has_the_same_losses_to_the_last_bit(made, tmp_path):
    from nucleus_model.training.train import quick_train

    with_them = quick_train(str(made.path), tmp_path / "with", training())
    without = quick_train(str(made.path), tmp_path / "without", training(encoded="off"))
    for name in ("metrics.jsonl", "summary.json", "samples.png"):
        same = [(tmp_path / run / name).read_bytes() for run in ("with", "without")]
        assert same[0] == same[1], name
    for kind in ("latents", "texts"):
        found = with_them["encoded"][kind]
        assert (found["lacking"], found["faults"]) == (0, {})
        assert found["read"] >= 10
        assert without["encoded"][kind]["folders"] == []


@pytest.mark.slow
def test_a_picture_that_cannot_be_decoded_fails_alone_and_the_training_leaves_it_out(tmp_path):
    from nucleus_model.training.train import quick_train

    encoding = Encoding(tmp_path)
    tar = encoding.folder.manifest()[0].path
    row = encoding.folder.index(tar).to_pylist()[1]
    whole = bytearray((encoding.path / tar).read_bytes())
    whole[row["offset"] : row["offset"] + row["size"]] = bytes(row["size"])
    (encoding.path / tar).write_bytes(whole)
    noted = encoding.run()
    assert (noted["rows"], noted["done"], noted["failed"]) == (30, 29, 1)
    settings = training(holdout_share=0.0)
    found = quick_train(str(encoding.path), tmp_path / "out", settings)
    assert list(found["failures"]) == [row["id"]]
    assert found["encoded"]["latents"]["faults"] == {}
    assert found["encoded"]["latents"]["lacking"] >= 1

"""The stage `encode`, and a training that takes what it left."""

import pytest

from nucleus_data.corpus.store import Store
from nucleus_data.errors import RequestError
from nucleus_data.line.steps import without_missing
from tests.support import curated
from tests.support.encodes import Encoding, training

LATENTS, TEXTS = "latents of 11 samples", "text states of up to 18 captions"


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
    assert "give encode.enabled=true" in stages["encode"].missing()
    assert without_missing(stages, ["shard", "encode", "quick_train"]) == ["shard", "quick_train"]


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
    assert "3 in 1 tars are to be made" in made.said[0].replace("1 in 1", "3 in 1")
    assert "1 parts of them are to be made" in made.said[1]
    assert set(made.files()) == set(before) - set(lost)
    made.run()
    assert made.files() == before


@pytest.mark.slow
def test_a_killed_run_goes_on_with_the_same_bytes(made, tmp_path, monkeypatch):
    other = Encoding(tmp_path)
    link = Store._link
    for after in range(20):
        writes = iter(range(1000))

        def dies(self, name, write, after=after, writes=writes):
            if "/encoded/" not in name:
                return link(self, name, write)
            if next(writes) == after // 2:
                if after % 2:
                    link(self, name, write)
                raise Killed
            return link(self, name, write)

        monkeypatch.setattr(Store, "_link", dies)
        try:
            other.run()
        except Killed:
            continue
        break
    monkeypatch.setattr(Store, "_link", link)
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
    with pytest.raises(RequestError, match="no samples at resolution 32; it has: 64"):
        made.run(settings=training(resolution=32))


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

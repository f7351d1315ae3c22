import json

import pytest
import yaml

pytest.importorskip("torch")
heads = pytest.importorskip("scripts.nano.heads")


@pytest.fixture
def folder(tmp_path):
    described = {"model": "nano", "revision": "a" * 12, "heads": {"x": "value"}}
    (tmp_path / "heads.json").write_text(json.dumps(described))
    card = {"trained": "5 pictures in 1 CPU-minute.", "measured": {"x": 1.0}}
    (tmp_path / "card.yaml").write_text(yaml.safe_dump(card))
    (tmp_path / "README.md").write_text(f"- Made by a script: {card['trained']}\n")
    return tmp_path


def said(folder):
    return (
        json.loads((folder / "heads.json").read_text())["revision"],
        yaml.safe_load((folder / "card.yaml").read_text())["trained"],
    )


def test_heads_follow_a_clip_whose_images_are_the_same_and_say_what_they_were_trained_on(folder):
    heads.follow(folder, "a" * 12, "b" * 12)
    heads.follow(folder, "b" * 12, "c" * 12)
    revision, trained = said(folder)
    assert revision == "c" * 12
    assert trained == (
        "5 pictures in 1 CPU-minute; on the vectors of the CLIP aaaaaaaaaaaa; "
        "the image tower of cccccccccccc is the same bits."
    )
    assert (folder / "README.md").read_text() == f"- Made by a script: {trained}\n"


def test_heads_of_another_clip_stay(folder):
    before = said(folder)
    heads.follow(folder, "d" * 12, "e" * 12)
    assert said(folder) == before
    heads.follow(folder / "gone", "a" * 12, "b" * 12)

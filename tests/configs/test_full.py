"""The full recipe, beside the laptop's."""

import socket
from pathlib import Path

import pytest
import yaml

from nucleus_data.line.recipe import FullRecipe, Recipe, load_recipe
from nucleus_data.stages.caption.stage import Caption
from nucleus_data.stages.select.rules import check_rules
from nucleus_data.stages.select.stage import Select
from nucleus_data.stages.shard.stage import Shard

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.fixture
def full(monkeypatch) -> Recipe:
    """The full recipe, read where no network can be reached."""

    def refuse(*_: object) -> None:
        raise AssertionError("the recipe asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return load_recipe(CONFIGS / "full/recipe.yaml")


@pytest.mark.slow
def test_the_full_recipe_needs_no_network_to_be_read_and_hashed(full):
    hashes = full.pins().tables
    captions = [f"caption.{name}" for name in ("very_short", "short", "medium", "long")]
    assert set(captions) < set(hashes)
    assert len(set(hashes.values())) == len(hashes)
    assert len(full.section(Caption).revision or "") == 40  # a commit, not a branch
    assert {f"caption.{name}" for name in full.section(Shard).captions} == {
        "caption.source",
        *captions,
    }
    assert {v.presence_penalty for v in full.section(Caption).variants.values()} == {1.5}


def test_the_full_rules_are_those_of_nano_with_thresholds_for_photos(full):
    nano = load_recipe(CONFIGS / "nano/recipe.yaml")
    settings = full.section(Select)
    ours, theirs = settings.rules, nano.section(Select).rules
    assert [rule.name for rule in check_rules(settings, full.pins().catalog(), [])] == list(theirs)
    tuned = {"too_small", "over_compressed", "too_dark", "too_bright", "blurred", "framed"}
    assert {name for name in ours if ours[name].where != theirs[name].where} == tuned
    assert all(ours[name].action == theirs[name].action for name in ours)
    assert ours["too_small"].where == "least(width, height) < 256"


def test_the_full_recipe_has_every_key_of_nano(full):
    content = yaml.safe_load((CONFIGS / "full/recipe.yaml").read_text())
    nano = yaml.safe_load((CONFIGS / "nano/recipe.yaml").read_text())
    assert set(content) <= set(FullRecipe.model_fields)
    for section, values in nano.items():
        assert set(values) <= set(content[section]), section

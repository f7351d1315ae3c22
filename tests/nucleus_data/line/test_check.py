"""Whole configurations, checked without a corpus and without weights."""

import json
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from nucleus_data.commands import cli
from nucleus_data.errors import RequestError
from nucleus_data.line.check import check
from nucleus_data.line.recipe import load_recipe
from nucleus_model.network.size import model_size

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
FULL = CONFIGS / "full/recipe.yaml"
NANO = CONFIGS / "nano/recipe.yaml"


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda p: p.parent.name)
def test_every_configuration_that_ships_is_sound(path):
    outcome = CliRunner().invoke(cli, ["check", "--config", str(path)])
    assert outcome.exit_code == 0, outcome.output
    assert outcome.output.endswith("is valid\n")


def test_the_full_recipe_names_the_published_models():
    recipe = load_recipe(FULL)
    training = recipe.quick_train
    named = (recipe.caption.model, recipe.embed.model, training.vae, training.text.model)
    assert named == (
        "Qwen/Qwen3-VL-8B-Instruct",
        "timm/ViT-SO400M-16-SigLIP2-512",
        "Qwen/Qwen-Image",
        "Qwen/Qwen3-VL-8B-Instruct",
    )
    assert (training.preset, training.text.hidden_state, training.text.max_tokens) == (
        "base",
        -8,
        1024,
    )
    assert recipe.caption.revision == training.text.revision


def test_the_constants_of_a_curriculum_are_checked_and_counted():
    fitted = {"records": 1234, "score": "width", "bounds": [1, 2], "quality_weight": 0.6}
    fitted |= {"size": "bytes", "mean": 0.5, "deviation": 0.2, "sizes": [1, 2], "ranks": [0.2, 0.7]}
    given = ["tiers={score: width, bounds: [1, 2]}", "curriculum.size=bytes"]
    with_fit = [*given, f"curriculum.fitted={json.dumps(fitted)}"]
    said = list(check(load_recipe(NANO, [*with_fit, "shard.caps=9"])))
    assert "select: 2 quality tiers by width" in said
    assert "select: curriculum buckets, with constants fitted on 1,234 records" in said
    for wrong, message in (
        ([*given], "select.curriculum.fitted is not set"),
        ([*with_fit, "curriculum.size=width"], "was fitted with select.curriculum.size='bytes'"),
        (["shard.caps=9"], "shard.caps needs curriculum buckets"),
    ):
        with pytest.raises(RequestError) as caught:
            list(check(load_recipe(NANO, wrong)))
        assert message in str(caught.value)


@pytest.mark.slow
def test_the_full_recipe_has_the_published_system_prompt():
    from diffusers.pipelines.nucleusmoe_image import pipeline_nucleusmoe_image as published

    assert load_recipe(FULL).quick_train.text.system_prompt == published.DEFAULT_SYSTEM_PROMPT


def test_the_sections_of_both_recipes_are_the_same():
    full, nano = (yaml.safe_load(path.read_text()) for path in (FULL, NANO))
    assert set(nano) <= set(full)
    for stage in ("embed", "caption"):
        assert set(nano.get(stage, {})) <= set(full[stage])


def test_the_base_preset_has_the_published_counts():
    size = model_size(load_recipe(FULL).quick_train)
    assert (round(size.parameters / 1e9, 2), round(size.active / 1e9, 2)) == (16.92, 2.11)
    assert (size.latent_channels, size.factor, size.text_width, size.tokens) == (16, 8, 4096, 256)


def test_a_dense_block_counts_whole_and_an_expert_by_its_share():
    """By hand: all but the experts, and of these capacity factor / experts in each block."""
    size = model_size(load_recipe(NANO).quick_train.model_copy(update={"preset": "debug"}))
    routed = 4 * (48 * 2 * 32 + 32 * 48)  # experts x (gate and up, down), in the one MoE block
    assert size.parameters - size.active == routed - round(routed / 4 * 2.0)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "select.rules.wrong=widht < 3",
            r"'widht', which is not in any table.*Did you mean 'width'",
        ),
        ("select.rules.wrong=width", "has type integer; it must be a condition"),
        ("select.prefer=[sharpness desc]", r"select\.prefer\[0\]"),
        (
            "select.prefer=[width desc nulls]",
            r"select\.prefer\[0\]: 'width desc nulls' is not a valid order",
        ),
        ("inspect.signals=[tone]", "which is not in any table|needs the signal group"),
        ("shard.captions=[long, verbose]", "names 'verbose', which is not a caption variant"),
        (
            "quick_train.resolution=300",
            r"quick_train\.resolution is 300, but the training set has 64",
        ),
        ("shard.multiple=4", r"shard\.multiple is 4, but must be a multiple of"),
        (
            "quick_train.phases=[{steps: 9, aspects: [5x4]}]",
            r"aspects has 5x4, but the training set has 1x1, 16x9, 9x16, 4x3",
        ),
        ("quick_train.device=gpu0", r"quick_train\.device is 'gpu0'"),
        ("quick_train.capacity_factors=[0, 2]", r"quick_train\.capacity_factors: .* 4 numbers"),
        (
            "quick_train.phases=[{steps: 9}, {steps: 9, capacity_factors: [0, 2]}]",
            r"quick_train\.phases: phase 1: capacity_factors must be 4 numbers",
        ),
        (
            "quick_train.phases=[{steps: 9}, {steps: 9, captions: {short: 1, lnog: 2}}]",
            r"quick_train\.captions has lnog, but the training set has .*long",
        ),
        ("quick_train.text.hidden_state=-30", r"text\.hidden_state must be -"),
        ("quick_train.text.model=some/model", r"quick_train\.text\.revision is required"),
        ("embed.model=some/model", r"embed\.revision is required"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(override, message):
    with pytest.raises(RequestError, match=message):
        list(check(load_recipe(NANO, [override])))


def test_a_hub_model_of_unknown_size_is_said():
    given = ["quick_train.text.model=some/model", "quick_train.text.revision=abc"]
    with pytest.raises(RequestError, match="sizes of 'some/model' are not known; give"):
        list(check(load_recipe(NANO, given)))


def test_rules_on_upstream_columns_are_parsed_though_no_corpus_says_their_types():
    lines = list(check(load_recipe(NANO, ["select.rules.paid=source.price > 3"])))
    assert any("not known yet (paid)" in line for line in lines)
    with pytest.raises(RequestError, match="is not valid SQL"):
        list(check(load_recipe(NANO, ["select.rules.paid=source.price >"])))


def test_without_torch_the_rest_is_checked_and_it_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "nucleus_model.network.size", None)
    said = list(check(load_recipe(NANO)))
    assert said[-1].startswith("quick_train: the transformer was not built")
    assert "pip install 'nucleus-data[train]'" in said[-1]


def test_the_versions_of_prompts_are_told():
    said = list(check(load_recipe(NANO)))
    assert "caption: nano; short (short@1), long (long@1)" in said

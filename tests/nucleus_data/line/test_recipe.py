import math
import typing

import pytest
from pydantic import BaseModel, ValidationError

from nucleus_data.corpus import RECORDS_HASH
from nucleus_data.errors import RequestError
from nucleus_data.line.recipe import FullRecipe, describe_settings, load_recipe
from nucleus_model.settings.presets import Preset
from nucleus_model.settings.verdict import VerdictSettings
from tests.support.recipes import CONFIGS, ROOT, load


def hashes(tmp_path, *overrides):
    return load(tmp_path, "", *overrides).pins().tables


@pytest.mark.parametrize("config", CONFIGS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_the_shipped_configurations_load(config):
    recipe = load_recipe(config)
    assert set(recipe.select.rules)
    assert set(recipe.pins().catalog()) >= {"width", "luma_std", "phash", "laplacian_variance"}


def test_there_is_a_laptop_configuration():
    assert ROOT / "configs/nano/recipe.yaml" in CONFIGS


def test_config_hashes_change_with_what_changes_values(tmp_path):
    first = hashes(tmp_path)
    assert first["records"] == RECORDS_HASH
    inspect = {name for name in first if name.startswith("inspect.")}
    caption = {name for name in first if name.startswith("caption.")}

    def changed(*overrides):
        other = hashes(tmp_path, *overrides)
        return {name for name in first if other.get(name) != first[name]}

    assert changed("inspect.max_pixels=1000000") == inspect
    assert changed("caption.max_side=512") == caption
    assert changed("caption.variants.short={prompt: short, max_tokens: 50}") == {
        "caption.short",
        "caption.long",  # which is not among the variants any more
    }
    both = "caption.variants={short: {prompt: short, max_tokens: 50}, long: {prompt: long}}"
    assert changed(both) == {"caption.short"}


def test_config_hashes_do_not_change_with_resources_or_with_what_only_chooses(tmp_path):
    first = hashes(tmp_path)
    same = (
        "corpus=/elsewhere",
        "storage_options={key: secret}",
        "ray.num_cpus=1",
        "resources.inspect={workers: 1, num_cpus: 0.5, row_timeout_s: 3}",
        "resources.caption.num_gpus=1",
        "caption.max_in_flight=1",
        "caption.gpu_memory_utilization=0.5",
        "caption.engine=transformers",
        "ingest.images_per_shard=7",
        "select.rules.r=width < 3",
        "shard.seed=5",
        "dedup.distance=2",
        "report.thumbnails=3",
    )
    assert hashes(tmp_path, *same) == first
    fewer = hashes(tmp_path, "inspect.signals=[tone]")
    assert fewer["inspect.tone"] == first["inspect.tone"]
    assert "inspect.file" not in fewer


def test_a_model_that_is_not_there_is_refused(tmp_path):
    recipe = load(tmp_path, "", "caption.model=/no/such/folder")
    with pytest.raises(RequestError, match=r"caption.model: /no/such/folder is not a folder"):
        recipe.pins()


def test_the_catalog_says_which_table_a_signal_is_in(tmp_path):
    catalog = load(tmp_path).pins().catalog()
    assert catalog["width"] == "inspect.file"
    assert catalog["laplacian_variance"] == "inspect.detail"
    with pytest.raises(RequestError, match="are both named 'tone'"):
        load(tmp_path, "inspect: {signals: [tone, nucleus_data.signals.tone]}").pins()


def test_what_is_stored_with_a_run_has_no_credentials(tmp_path):
    recipe = load(
        tmp_path,
        "storage_options: {key: AKIA-CORPUS, secret: S3CR3T, client_kwargs: {token: T0KEN}}\n"
        "ingest: {source: s3://b/l.parquet, storage_options: {password: PASSW0RD}}",
    )
    content = recipe.public()
    for secret in ("AKIA-CORPUS", "S3CR3T", "T0KEN", "PASSW0RD"):
        assert secret not in str(content)
    assert content["storage_options"] == ["client_kwargs", "key", "secret"]
    assert content["ingest"]["storage_options"] == ["password"]
    assert content["ingest"]["source"] == "s3://b/l.parquet"


def test_every_setting_is_described():
    described = {key: (default, text) for key, default, text in describe_settings()}
    assert described["shard.samples_per_tar"] == ("10000", "Maximum samples per training shard.")
    assert {"corpus", "ray.address", "resources.inspect.workers", "caption.variants"} <= set(
        described
    )
    assert "caption.variants.prompt" not in described  # a variant has a name in between
    assert [key for key, (_, text) in described.items() if not text] == []


def test_a_rule_that_is_not_there_cannot_be_taken_away():
    nano = ROOT / "configs/nano/recipe.yaml"
    with pytest.raises(RequestError, match=r"no rule 'too_smal' to remove\. Did you mean 'too_"):
        load_recipe(nano, ["select.rules.too_smal=null"])
    assert "too_small" not in load_recipe(nano, ["select.rules.too_small=null"]).select.rules


def types_in(annotation):
    """The plain types that an annotation is made of: `dict[str, float] | None` has three."""
    inside = typing.get_args(annotation)
    if not inside:
        return [annotation]
    return [plain for part in inside for plain in types_in(part)]


def models_of(model):
    """A model, and those that its fields hold, at any depth."""
    found = [model]
    for each in found:
        for field in each.model_fields.values():
            held = (t for t in types_in(field.annotation) if isinstance(t, type))
            found += [t for t in held if issubclass(t, BaseModel) and t not in found]
    return found


ROOTS = (FullRecipe, VerdictSettings, Preset)
MODELS = dict.fromkeys(model for root in ROOTS for model in models_of(root))
FLOATS = {
    f"{model.__name__}.{name}": (model, field.alias or name)
    for model in MODELS
    for name, field in model.model_fields.items()
    if float in types_in(field.annotation)
}


def test_the_settings_of_all_stages_are_looked_through():
    """Else the next test would say nothing: one field for each kind of holder."""
    assert {
        "Resources.num_cpus",
        "IngestSettings.host_rate",
        "ServerSettings.timeout_s",
        "Variant.temperature",
        "Repetition.compression",
        "TierSettings.bounds",
        "Phase.mixture",
        "LoaderSettings.timeout_s",
    } <= FLOATS.keys()


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan], ids=str)
@pytest.mark.parametrize("field", FLOATS)
def test_no_setting_takes_a_number_that_is_none(field, value):
    """A timeout, a rate or a share without an end is one that JSON and Ray have no word for."""
    model, name = FLOATS[field]
    told = set()
    for given in (value, [value], {"k": value}, {"k": {"k": value}}):
        with pytest.raises(ValidationError) as error:
            model.model_validate({name: given})
        mine = {one["type"] for one in error.value.errors() if one["loc"][0] == name}
        assert mine, f"{field} takes {given}"
        told |= mine
    assert "finite_number" in told

from pathlib import Path

import pytest
import yaml

from nucleus_data.errors import RequestError
from nucleus_model.__main__ import main, read_settings


def test_a_recipe_s_section_or_the_section_alone_is_read_and_overridden(tmp_path):
    (tmp_path / "base.yaml").write_text(yaml.safe_dump({"quick_train": {"lr": 0.5, "steps": 9}}))
    (tmp_path / "recipe.yaml").write_text("base: base.yaml\nquick_train: {steps: 7}\nshard: {}\n")
    settings, _ = read_settings(tmp_path / "recipe.yaml", ["batch_size=3", "quick_train.clip=2"])
    assert (settings.lr, settings.steps, settings.batch_size, settings.clip) == (0.5, 7, 3, 2.0)
    (tmp_path / "alone.yaml").write_text("text: {max_tokens: 64}\n")
    alone = read_settings(tmp_path / "alone.yaml", ["text.hidden_state=-1"])
    assert alone.settings.text.max_tokens == 64
    assert read_settings(None, []).settings.preset == "nano"


def test_where_a_url_s_store_is_comes_from_the_recipe_too(tmp_path, monkeypatch):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("storage_options: {endpoint_url: a, key: k}\nquick_train: {steps: 7}\n")
    asked = []
    monkeypatch.setattr(
        "nucleus_model.training.train.quick_train",
        lambda *given, **_: asked.append(given) or {"text": "", "grid": ""},
    )
    words = ["s3://set", str(tmp_path), "--config", str(recipe), "storage_options.endpoint_url=b"]
    assert main(words) == 0
    settings, options = asked[0][2:]
    assert (settings.steps, options) == (7, {"endpoint_url": "b", "key": "k"})
    with pytest.raises(RequestError, match="storage_options must hold keys and values, got 3"):
        read_settings(None, ["storage_options=3"])


def test_a_recipe_that_comes_along_is_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    full = read_settings(Path("configs/full/recipe.yaml"), [])
    assert full.settings.preset == "base"


def test_what_is_wrong_is_named(tmp_path, capsys):
    with pytest.raises(RequestError, match=r"quick_train\.lr: .* greater than 0; got -1"):
        read_settings(None, ["lr=-1"])
    with pytest.raises(RequestError, match=r"quick_train\.phases\.0\.steps: Field required"):
        read_settings(None, ["phases=[{}]"])
    with pytest.raises(RequestError, match=r"stepz is not .* Did you mean 'steps'\? Allowed: asp"):
        read_settings(None, ["stepz=3"])
    assert main([str(tmp_path / "none"), str(tmp_path / "out"), "steps=1", "preset=debug"]) == 2
    assert "manifest.parquet is missing" in capsys.readouterr().err


@pytest.mark.parametrize("out", ["s3://bucket/out", ""])
def test_what_is_trained_lies_on_this_machine(out, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["set", out, "steps=1"])
    assert ended.value.code == 2
    assert f"{out!r} is not a path on this machine; give one" in capsys.readouterr().err

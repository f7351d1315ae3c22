import json
import shutil
from pathlib import Path

import pytest

from nucleus_data.engines.find import CAPTIONER, CLIP, resolve_model
from nucleus_data.errors import RequestError


class TestModel:
    def test_nano_is_found_and_small(self):
        nano = resolve_model("nano", None)
        assert (nano.name, nano.local) == ("nano", True)
        assert len(nano.revision) == 12
        files = [p for p in Path(nano.location).iterdir() if p.is_file()]
        assert sum(p.stat().st_size for p in files) < 8 << 20
        assert {p.suffix for p in files} <= {".json", ".jinja", ".safetensors", ".md", ".yaml"}

    def test_revision_is_the_contents_and_not_the_paths(self, tmp_path):
        copy = tmp_path / "elsewhere"
        shutil.copytree(CAPTIONER.nano, copy)
        original = resolve_model("nano", None).revision
        assert resolve_model(str(copy), None).revision == original
        assert resolve_model(str(copy), None).name == "elsewhere"
        (copy / "README.md").write_text("another card")
        assert resolve_model(str(copy), None).revision == original
        config = json.loads((copy / "config.json").read_text())
        (copy / "config.json").write_text(json.dumps({**config, "changed": True}))
        assert resolve_model(str(copy), None).revision != original

    def test_given_revision_is_checked_against_a_folder(self):
        revision = resolve_model("nano", None).revision
        assert resolve_model("nano", revision).revision == revision
        with pytest.raises(RequestError, match=f"content of .* is '{revision}'"):
            resolve_model("nano", "000000000000")

    def test_hub_name_needs_a_revision(self):
        with pytest.raises(RequestError, match=r"caption\.revision is required"):
            resolve_model("Qwen/Qwen3-VL-8B-Instruct", None)
        model = resolve_model("Qwen/Qwen3-VL-8B-Instruct", "0c351dd")
        assert (model.revision, model.local) == ("0c351dd", False)

    @pytest.mark.parametrize("model", ["/no/such/folder", "./gone", "~/gone", "a/b/c"])
    def test_missing_folder_is_said(self, model):
        with pytest.raises(RequestError, match="is not a folder"):
            resolve_model(model, None)

    def test_folder_without_safetensors_is_refused(self, tmp_path):
        (tmp_path / "config.json").write_text("{}")
        (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle")
        with pytest.raises(RequestError, match="safetensors"):
            resolve_model(str(tmp_path), None)


@pytest.mark.slow
def test_a_hub_model_needs_its_revision():
    with pytest.raises(RequestError, match=r"embed\.revision is required"):
        resolve_model("timm/ViT-B-16-SigLIP2", None, CLIP)

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from nucleus_data.engines.captioner import EngineSettings, Sampling, check_length
from nucleus_data.engines.find import CAPTIONER, resolve_model
from nucleus_data.engines.load import load_engine
from nucleus_data.errors import RequestError
from nucleus_data.stages.caption.prompts import PROMPTS
from nucleus_data.world import captions, render, scene

HELD_OUT = 91_000  # the world that the packaged model was measured on, never trained on
SIZES = ((128, 96), (100, 140), (200, 160), (320, 240))
HAS = {name: importlib.util.find_spec(name) is not None for name in ("torch", "vllm")}
needs_torch = pytest.mark.skipif(not HAS["torch"], reason="torch is not installed")
needs_vllm = pytest.mark.skipif(not HAS["vllm"], reason="vLLM is not installed")


def requests(count):
    for i in range(count):
        image = np.asarray(render(scene(HELD_OUT, i), *SIZES[i % len(SIZES)]))
        for variant in ("short", "long"):
            yield f"{i}/{variant}", image, PROMPTS[variant]


def drain(engine):
    done = []
    while engine.pending():
        done += engine.step()
    return {made.key: made for made in done}


def caption_all(engine, count, temperature=0.0):
    """Captions with requests handed in while others run, as the stage does."""
    done = []
    penalty = 0.5 if temperature else 0.0
    for number, (key, image, prompt) in enumerate(requests(count)):
        engine.submit(
            key, image, prompt, Sampling(128, temperature, 0.9, penalty, seed=2**62 + number)
        )
        if engine.pending() >= 24:
            done += engine.step()
    while engine.pending():
        done += engine.step()
    assert len(done) == 2 * count, "every request came back, once"
    return {made.key: made for made in done}


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


class TestSettings:
    def test_unknown_key_is_refused(self):
        with pytest.raises(ValidationError, match="extra_forbidden"):
            EngineSettings(modle="nano")

    def test_a_request_that_may_not_fit_is_refused(self):
        check_length(100, 28, 128)
        with pytest.raises(ValueError, match=r"exceed caption\.max_model_len=128"):
            check_length(101, 28, 128)


class TestLoading:
    def test_missing_vllm_is_said(self, monkeypatch):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(RequestError, match="needs the package vllm"):
            load_engine(EngineSettings(engine="vllm"))
        with pytest.raises(RequestError, match="pip install"):
            load_engine(EngineSettings(engine="auto"))

    @pytest.mark.slow
    def test_nothing_heavy_is_imported_before_an_engine_is_loaded(self):
        code = (
            "import sys, nucleus_data.engines.load, nucleus_data.stages.caption.stage;"
            "print([m for m in ('torch', 'transformers', 'vllm') if m in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "[]"


@needs_torch
class TestDraw:
    """Sampling in the transformers engine."""

    def draws(self, logits, sampling, seeds):
        import torch

        from nucleus_data.engines.captioner_transformers import _Draw

        rows = [Sampling(1, *sampling, seed=seed) for seed in seeds]
        before = torch.zeros(len(rows), 3, dtype=torch.long)
        scores = torch.tensor([logits] * len(rows))
        return _Draw(rows, start=3)(before, scores).argmax(-1).tolist()

    def test_frequencies_are_the_softmax(self):
        drawn = np.array(self.draws([2.0, 1.0, 0.0], (1.0, 1.0, 0.0), range(4000)))
        expected = np.exp([2.0, 1.0, 0.0]) / np.exp([2.0, 1.0, 0.0]).sum()
        np.testing.assert_allclose(np.bincount(drawn) / len(drawn), expected, atol=0.03)

    def test_top_p_keeps_the_likeliest_only(self):
        drawn = self.draws([2.0, 1.0, 0.0], (1.0, 0.8, 0.0), range(500))
        assert set(drawn) == {0, 1}

    def test_a_row_does_not_depend_on_its_company(self):
        logits = [0.5, 0.4, 0.3, 0.2]
        together = self.draws(logits, (1.0, 1.0, 0.0), range(20))
        alone = [self.draws(logits, (1.0, 1.0, 0.0), [seed])[0] for seed in range(20)]
        assert together == alone
        assert len(set(together)) > 1

    def test_temperature_zero_is_the_largest_after_the_penalty(self):
        import torch

        from nucleus_data.engines.captioner_transformers import _Draw

        said = torch.tensor([[9, 9, 1]])  # a prompt of two tokens, and token 1
        scores = torch.tensor([[0.0, 2.0, 1.0] + [-1.0] * 7])
        greedy = _Draw([Sampling(1)], start=2)(said, scores)
        assert greedy.argmax() == 1
        penalized = _Draw([Sampling(1, presence_penalty=1.5)], start=2)(said, scores)
        assert penalized.argmax() == 2
        assert penalized[0, 9] == -1.0, "the prompt's tokens are not penalized"


@pytest.fixture(scope="module")
def transformers_engine():
    pytest.importorskip("transformers")
    return load_engine(EngineSettings(engine="transformers", max_side=256))


@needs_torch
@pytest.mark.slow
class TestTransformers:
    def test_captions_of_held_out_scenes_are_mostly_right(self, transformers_engine):
        made = caption_all(transformers_engine, 48)
        right = words = 0
        for key, caption in made.items():
            index, variant = key.split("/")
            truth = captions(scene(HELD_OUT, int(index)))[variant].split()
            found = caption.text.split()
            right += sum(a == b for a, b in zip(truth, found, strict=False))
            words += max(len(truth), len(found))
            assert caption.finish_reason == "stop"
            assert 0 < caption.tokens <= 128
        assert right / words > 0.8

    def test_seed_decides_a_drawn_caption(self, transformers_engine):
        _, image, prompt = next(requests(1))
        for company in (1, 5):
            for seed in range(company):
                transformers_engine.submit(
                    str(seed), image, prompt, Sampling(48, temperature=2.0, seed=seed)
                )
            made = drain(transformers_engine)
            if company == 1:
                alone = made["0"].text
        assert made["0"].text == alone
        assert len({m.text for m in made.values()}) > 1

    def test_length_and_refusal(self, transformers_engine):
        _, image, prompt = next(requests(1))
        transformers_engine.submit("short", image, prompt, Sampling(3))
        transformers_engine.submit("long", image, prompt * 1000, Sampling(3))
        made = drain(transformers_engine)
        assert (made["short"].finish_reason, made["short"].tokens) == ("length", 3)
        assert made["long"].error.startswith("refused")


# vLLM warns while it is imported and changes its process, so it has a process of its own; and in
# that a thread, as in an actor.
VLLM_SCRIPT = """
import dataclasses, json, os, sys, threading
from tests.nucleus_data.engines.test_captioner import EngineSettings, Sampling
from tests.nucleus_data.engines.test_captioner import caption_all, load_engine, requests

def main():
    engine = load_engine(EngineSettings(engine="vllm", max_side=256))
    made = {"greedy": caption_all(engine, 32), "drawn": caption_all(engine, 8, 1.0)}
    made["drawn again"] = caption_all(engine, 4, 1.0)
    _, image, prompt = next(requests(1))
    engine.submit("cut", image, prompt, Sampling(3))
    engine.submit("refused", image, prompt * 1000, Sampling(3))
    engine.submit("no room", image, prompt, Sampling(4090))
    made["odd"] = {}
    while engine.pending():
        made["odd"] |= {m.key: m for m in engine.step()}
    out = {n: {k: dataclasses.asdict(m) for k, m in group.items()} for n, group in made.items()}
    print(json.dumps({"version": engine.version, **out}))

thread = threading.Thread(target=main)
thread.start()
thread.join()
sys.stdout.flush()
os._exit(0)  # the interpreter's own way out takes ten seconds
"""


@needs_torch
@needs_vllm
@pytest.mark.slow
def test_vllm_agrees_with_transformers(transformers_engine):
    done = subprocess.run(
        [sys.executable, "-c", VLLM_SCRIPT],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    made = json.loads(done.stdout.splitlines()[-1])

    expected = caption_all(transformers_engine, 32)
    same = [made["greedy"][key]["text"] == expected[key].text for key in expected]
    assert sum(same) / len(same) >= 0.99
    tokens = [made["greedy"][key]["tokens"] == expected[key].tokens for key in expected]
    assert sum(tokens) / len(tokens) >= 0.95

    again = made["drawn again"]
    assert {k: v["text"] for k, v in again.items()} == {
        k: made["drawn"][k]["text"] for k in again
    }, "the same seeds in other company"

    assert made["odd"]["cut"]["finish_reason"] == "length"
    assert made["odd"]["refused"]["error"].startswith("refused")
    assert "max_model_len" in made["odd"]["no room"]["error"]

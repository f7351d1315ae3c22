"""The packaged nano models reach their bars, on pictures of a world that none was trained on.

The same measurements as `scripts/build_nano_models.py MODEL --measure`, on fewer pictures.
"""

import json

import numpy as np
import pytest
import yaml

from nucleus_data.engines.clip import load_clip
from nucleus_data.engines.find import ASSETS, CLIP, NANO, resolve_model
from nucleus_data.world import render, scene
from nucleus_data.world.alt_texts import alt_text
from scripts.nano.measuring import auc, held_out
from scripts.nano.poor_captions import POOR, TRUE
from scripts.nano.training import HELD_OUT_SEED
from tests.support.plain_clip import PlainClip

pytest.importorskip("torch")
FOLDERS = ("captioner", "clip", "heads", "vae")


def test_what_is_shipped_is_small_and_holds_no_pickle():
    files = [p for p in ASSETS.rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) <= 25_000_000
    assert {p.suffix for p in files} <= {".json", ".jinja", ".safetensors", ".md", ".yaml"}


@pytest.mark.parametrize("name", FOLDERS)
def test_every_model_has_a_card_with_what_was_measured(name):
    card = (ASSETS / name / "README.md").read_text()
    measured = yaml.safe_load((ASSETS / name / "card.yaml").read_text())["measured"]
    assert f"build_nano_models.py {name}" in card
    assert str(HELD_OUT_SEED) in card
    assert measured


def test_the_clip_that_is_shipped_was_measured_and_tells_poor_captions():
    """The figures are of these very weights; the slow test below measures them again."""
    from scripts.nano.clip_measure import BARS

    card = yaml.safe_load((ASSETS / "clip" / "card.yaml").read_text())
    assert card["revision"] == resolve_model(NANO, None, CLIP).revision
    assert BARS["auc_poor"] == 0.97
    for name, bar in BARS.items():
        assert card["measured"][name] >= bar, name


@pytest.mark.slow
def test_the_clip_tells_poor_captions_from_true_ones():
    """Clean pictures alone, few and small, so that it is quick; the demo's are in the slow test."""
    clip = PlainClip()
    scenes = [scene(HELD_OUT_SEED + 3, index) for index in range(90)]
    told = [alt_text(facts) for facts in scenes]
    images = clip.images([render(facts, 150, 120) for facts in scenes])
    cosine = (images * clip.texts([caption.text for caption in told])).sum(1).numpy()
    kind = np.array([caption.kind for caption in told])
    assert auc(cosine[np.isin(kind, TRUE)], cosine[np.isin(kind, POOR)]) >= 0.97


@pytest.mark.slow
def test_the_plain_clip_is_the_packaged_one():
    pytest.importorskip("open_clip")
    clip, plain = load_clip("nano"), PlainClip()
    pictures = [render(scene(1, index), 150, 120) for index in range(4)]
    texts = [alt_text(scene(1, index), "good").text for index in range(4)]
    np.testing.assert_allclose(plain.images(pictures), clip.images(pictures), atol=1e-4)
    np.testing.assert_allclose(plain.texts(texts), clip.texts(texts), atol=1e-4)


def test_the_heads_are_those_of_the_clip():
    described = json.loads((ASSETS / "heads" / "heads.json").read_text())
    assert described["revision"] == resolve_model(NANO, None, CLIP).revision


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_captioner_through_vllm():
    pytest.importorskip("vllm")
    from scripts.nano.captioner_measure import BARS, figures_of, say_apart

    variants, model = ("short", "long", "refine"), str(ASSETS / "captioner")
    said = say_apart("vllm", model, 150, "core", variants)
    figures = figures_of(said, held_out(150, "core"))
    other = say_apart("transformers", model, 40, "core", variants)
    same = [a == b for v in variants for a, b in zip(said[v], other[v], strict=False)]
    figures["same_as_transformers"] = float(np.mean(same))
    print(figures)
    for name, bar in BARS.items():
        assert figures[name] <= bar if name.endswith("invented") else figures[name] >= bar, name


@pytest.mark.slow
def test_the_clip_and_its_heads():
    pytest.importorskip("open_clip")
    from scripts.nano.clip_measure import (
        BARS,
        HEAD_BARS,
        clip_figures,
        head_figures,
        poor_figures,
        poor_rows,
    )

    clip = load_clip("nano")
    figures = clip_figures(clip, 400, "core")
    figures |= poor_figures(clip, poor_rows(240, "core"))
    figures |= head_figures(clip, str(ASSETS / "heads"), 600, "core")
    print(figures)
    for name, bar in (BARS | HEAD_BARS).items():
        assert figures[name] >= bar, name


@pytest.mark.slow
def test_the_vae():
    from diffusers import AutoencoderKLQwenImage

    from scripts.nano.vae_measure import BARS, vae_figures

    vae = AutoencoderKLQwenImage.from_pretrained(
        ASSETS / "vae", local_files_only=True, low_cpu_mem_usage=False
    )
    figures = vae_figures(vae.float().eval(), 12, "core", sides=(128,))  # it is 10 dB above its bar
    print(figures)
    assert figures["psnr_128"] >= BARS["psnr_128"]

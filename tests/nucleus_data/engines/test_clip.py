"""Embeddings by a real open_clip model (with random weights), and heads on them."""

import numpy as np
import pytest
from PIL import Image

from nucleus_data.engines.clip import load_clip
from nucleus_data.engines.find import CLIP, ModelReference, resolve_model
from nucleus_data.engines.heads import load_heads
from nucleus_data.errors import RequestError
from nucleus_data.world import render, scene
from tests.support.embedded import heads_folder

pytest.importorskip("open_clip")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    from scripts.nano.clip import build_model, build_tokenizer, save

    folder = tmp_path_factory.mktemp("clip")
    tokenizer = build_tokenizer()
    save(build_model(len(tokenizer)), tokenizer, folder)
    return load_clip(str(folder))


@pytest.fixture(scope="module")
def pictures():
    return [render(scene(0, i), 90 + 10 * i, 80) for i in range(5)]


def test_vectors_have_length_one_whatever_the_batch(clip, pictures):
    together = clip.images(pictures)
    assert (together.shape, together.dtype) == ((5, clip.width), np.float32)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(clip.images(pictures[1:2])[0], together[1])
    texts = clip.texts(["A red ring.", "", "A red ring. " * 200])
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, atol=1e-5)
    assert clip.images([]).shape == clip.texts([]).shape == (0, clip.width)


def test_the_whole_picture_is_seen(clip):
    """Squashed, not cropped: what is at the far ends changes the vector."""
    wide = Image.new("RGB", (300, 100), "gray")
    marked = wide.copy()
    marked.paste("red", (0, 0, 40, 100))
    assert np.abs(clip.images([wide]) - clip.images([marked])).max() > 1e-3


def test_texts_of_a_batch_are_those_alone(clip):
    texts = ["A large blue square.", "A small red ring. The background is teal."]
    np.testing.assert_array_equal(clip.texts(texts)[1], clip.texts(texts[1:])[0])


def test_a_batch_of_fixed_size_keeps_bits_from_their_company(clip, pictures, monkeypatch):
    """As on a GPU, where batches are large: a part of one is filled up."""
    monkeypatch.setattr(clip, "batch", 4)
    together = clip.images(pictures)
    for i in range(len(pictures)):
        np.testing.assert_array_equal(clip.images(pictures[i : i + 1])[0], together[i])


def test_heads_are_the_torch_network(tmp_path):
    import torch

    tensors = heads_folder(tmp_path)
    vectors = np.random.default_rng(1).standard_normal((6, 4)).astype(np.float32)
    scores = load_heads(tmp_path).scores(vectors)
    for name in ("a", "b"):
        net = torch.nn.Sequential(
            torch.nn.Linear(4, 3), torch.nn.GELU("tanh"), torch.nn.Linear(3, 1)
        )
        own = {
            k.removeprefix(f"{name}."): torch.from_numpy(v)
            for k, v in tensors.items()
            if k[0] == name
        }
        net.load_state_dict(own)
        with torch.no_grad():
            out = net(torch.from_numpy(vectors))[:, 0]
        expected = out if name == "a" else out.sigmoid()
        np.testing.assert_allclose(scores[name], expected.numpy(), atol=1e-5)


def test_heads_refuse_other_embeddings(tmp_path):
    heads_folder(tmp_path)
    with pytest.raises(ValueError, match=r"needs embeddings of shape \(N, 4\), got \(2, 5\)"):
        load_heads(tmp_path).scores(np.zeros((2, 5), np.float32))


def test_heads_of_another_model_are_refused(tmp_path):
    heads_folder(tmp_path, revision="0123456789ab")
    heads = load_heads(tmp_path)
    heads.check(ModelReference("nano", "", "0123456789ab", local=True))
    with pytest.raises(RequestError, match=r"revision '0123456789ab'.*revision 'ffff'"):
        heads.check(ModelReference("nano", "", "ffff", local=True))


def test_a_hub_model_needs_its_revision():
    with pytest.raises(RequestError, match=r"embed\.revision is required"):
        resolve_model("timm/ViT-B-16-SigLIP2", None, CLIP)


def test_a_folder_without_a_model_is_said(tmp_path):
    with pytest.raises(RequestError, match=r"needs open_clip_config\.json"):
        load_clip(str(tmp_path))
    with pytest.raises(RequestError, match="holds no heads"):
        load_heads(tmp_path)
    with pytest.raises(RequestError, match="is not a folder"):
        load_clip("./gone")

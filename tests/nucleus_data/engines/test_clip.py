"""Embeddings by a real open_clip model (with random weights), and heads on them."""

import numpy as np
import pytest
from PIL import Image

from nucleus_data.engines.clip import load_clip
from nucleus_data.engines.heads import load_heads
from nucleus_data.errors import RequestError
from nucleus_data.world import render, scene

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


def test_a_folder_without_a_model_is_said(tmp_path):
    with pytest.raises(RequestError, match=r"needs open_clip_config\.json"):
        load_clip(str(tmp_path))
    with pytest.raises(RequestError, match="has no valid heads"):
        load_heads(tmp_path)
    with pytest.raises(RequestError, match="is not a folder"):
        load_clip("./gone")

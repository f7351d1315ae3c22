"""What is around an embedding model: batches that are filled up, pixels, logits."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from nucleus_data.engines.clip import load_clip
from nucleus_data.engines.embedder import (
    BATCH_ON_CPU,
    BATCH_ON_GPU,
    default_batch,
    logit_of,
    normalised,
)
from tests.support.embedded import FakeClip


def picture(seed, size=(30, 20)):
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8))


@pytest.mark.parametrize("batch", [1, 2, 5, 64])
def test_a_part_of_a_batch_is_filled_up_and_left_out(batch):
    clip = FakeClip(batch)
    alone = FakeClip(1)
    pictures, texts = [picture(i) for i in range(5)], ["a", "eo", "", "aa", "oooo"]
    np.testing.assert_array_equal(clip.images(pictures), alone.images(pictures))
    np.testing.assert_array_equal(clip.texts(texts), alone.texts(texts))
    assert clip.images([]).shape == clip.texts([]).shape == (0, clip.width)


def test_the_batch_is_a_fixed_one_by_device():
    assert [default_batch(d) for d in ("cpu", "cuda", "cuda:1", "mps")] == [
        BATCH_ON_CPU,
        *[BATCH_ON_GPU] * 3,
    ]


@pytest.mark.slow
def test_pixels_have_the_bits_of_torchvision():
    transforms = pytest.importorskip("torchvision.transforms")
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    usual = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])
    every = np.arange(256 * 3, dtype=np.uint32).reshape(16, 16, 3).astype(np.uint8)
    for image in (Image.fromarray(every), picture(0)):
        pixels = np.zeros((3, *image.size[::-1]), np.float32)
        shaped = [np.array(values, np.float32).reshape(3, 1, 1) for values in (mean, std)]
        normalised(image, *shaped, pixels)
        np.testing.assert_array_equal(pixels, usual(image).numpy())


def test_scale_and_bias_are_the_model_s():
    torch = pytest.importorskip("torch")
    one = SimpleNamespace(logit_scale=torch.nn.Parameter(torch.tensor(2.0)), logit_bias=None)
    assert logit_of(one) == (pytest.approx(np.exp(2.0), rel=1e-6), 0.0)
    one.logit_bias = torch.nn.Parameter(torch.tensor([-10.0]))
    assert logit_of(one)[1] == -10.0
    assert logit_of(SimpleNamespace()) == (1.0, 0.0)


@pytest.mark.slow
def test_a_vector_of_the_packaged_model_depends_on_nothing_beside_it():
    """Neither on its place in the batch, nor on the other rows, nor on the number of threads."""
    pytest.importorskip("open_clip")
    import torch

    clip = load_clip()
    assert clip.batch == BATCH_ON_CPU
    pictures, texts = [picture(i) for i in range(BATCH_ON_CPU)], [f"a ring {i}" for i in range(16)]
    threads = torch.get_num_threads()
    images, words = clip.images(pictures), clip.texts(texts)
    assert not (images[0] == images[1]).all()
    np.testing.assert_array_equal(clip.images(pictures[5:] + pictures[:5])[-5:], images[:5])
    try:
        torch.set_num_threads(3 if threads == 1 else 1)
        np.testing.assert_array_equal(clip.images(pictures[7:8]), images[7:8])
        np.testing.assert_array_equal(clip.texts(texts[3:4]), words[3:4])
    finally:
        torch.set_num_threads(threads)
    assert clip.logit[0] > 1

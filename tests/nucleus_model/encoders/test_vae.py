import pytest
import torch
from torch.testing import assert_close

from nucleus_data.errors import RequestError
from nucleus_model.encoders.vae import VaeCodec

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def codec():
    return VaeCodec()


@pytest.fixture(scope="module")
def images():
    import numpy as np

    from nucleus_data.world import render, scene

    pictures = [np.asarray(render(scene(91_000, i), 64, 64)) for i in range(4)]
    return torch.from_numpy(np.stack(pictures))


def test_latents_have_the_published_shape_and_about_unit_variance(codec, images):
    latents = codec.encode(images)
    assert latents.shape == (4, 16, 8, 8)
    assert (codec.channels, codec.factor) == (16, 8)
    assert 0.5 < latents.std() < 1.5
    assert latents.mean().abs() < 0.5


def test_latents_are_those_of_the_published_pipeline(codec, images):
    """(posterior's mode - mean) / std, as diffusers' Qwen-Image pipelines have it."""
    config = codec.vae.config
    pixels = images.permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        raw = codec.vae.encode(pixels[:, :, None]).latent_dist.mode()
    mean = torch.tensor(config.latents_mean).view(1, 16, 1, 1, 1)
    std = torch.tensor(config.latents_std).view(1, 16, 1, 1, 1)
    assert_close(codec.encode(images), ((raw - mean) / std)[:, :, 0])


def test_a_picture_comes_back(codec, images):
    back = codec.decode(codec.encode(images))
    assert (back.shape, back.dtype) == (images.shape, torch.uint8)
    error = (back.float() - images.float()).square().mean()
    assert 10 * torch.log10(255**2 / error) > 22


def test_a_picture_s_latents_do_not_depend_on_its_company(codec, images):
    assert_close(codec.encode(images)[2:3], codec.encode(images[2:3]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (torch.zeros(1, 64, 64, 3), "must be uint8"),
        (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), "must be uint8"),
        (torch.zeros(1, 60, 64, 3, dtype=torch.uint8), "multiples of 8, got 64 x 60"),
    ],
)
def test_wrong_images_are_refused(codec, wrong, message):
    with pytest.raises(ValueError, match=message):
        codec.encode(wrong)


def test_a_folder_without_a_vae_is_said(tmp_path):
    with pytest.raises(RequestError, match=r"quick_train\.vae: .* needs config\.json"):
        VaeCodec(str(tmp_path))
    with pytest.raises(RequestError, match=r"quick_train\.vae_revision is required"):
        VaeCodec("Qwen/Qwen-Image")

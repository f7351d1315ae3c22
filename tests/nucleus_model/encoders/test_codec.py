import numpy as np
import pytest
import torch

from nucleus_model.encoders.codec import SpaceToDepth


def test_round_trip_returns_the_same_pixels():
    images = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (2, 24, 40, 3), dtype=np.uint8)
    )
    codec = SpaceToDepth(4)
    latents = codec.encode(images)
    assert latents.shape == (2, codec.channels, 6, 10)
    assert latents.dtype == torch.float32
    assert torch.equal(codec.decode(latents), images)


def test_only_the_mean_of_a_flat_image_is_not_zero():
    codec = SpaceToDepth(4)
    ends = torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1)
    latents = codec.encode(ends.expand(2, 8, 8, 3))
    assert (latents.abs() > 1e-4).sum(dim=1).unique().tolist() == [1]
    assert latents[0].min().item() == pytest.approx(-(12**0.5) / 1.5)
    assert latents[1].max().item() == pytest.approx(12**0.5 / 1.5)


def test_each_coefficient_of_a_natural_image_has_about_unit_scale():
    # A random field whose amplitude falls as 1 / frequency, as that of photographs does.
    random = np.random.default_rng(0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128)))
    frequency[0, 0] = 1 / 128
    field = np.fft.ifft2(np.fft.fft2(random.normal(size=(128, 128))) / frequency).real
    grey = 127.5 + 60 * field / field.std()
    images = torch.from_numpy(grey.clip(0, 255).astype(np.uint8))[None, :, :, None]
    scale = SpaceToDepth(4).encode(images.expand(-1, -1, -1, 3))[0, :16].std(dim=(1, 2))
    assert scale.min() > 0.3
    assert scale.max() < 2
    assert scale.max() / scale.min() < 3


def test_colours_are_apart_from_grey():
    latents = SpaceToDepth(2).encode(
        torch.tensor([[[[255, 0, 0]]]], dtype=torch.uint8).expand(1, 2, 2, 3)
    )
    assert (latents.flatten().abs() > 1e-4).nonzero().flatten().tolist() == [0, 4, 8]


def test_a_latent_pixel_is_its_square():
    images = torch.zeros(1, 8, 12, 3, dtype=torch.uint8)
    images[0, 4:8, 8:12] = 255
    codec = SpaceToDepth(4)
    marked = (codec.encode(images) != codec.encode(torch.zeros_like(images)))[0].any(dim=0)
    assert marked.nonzero().tolist() == [[1, 2]]


def test_values_outside_are_clipped():
    decoded = SpaceToDepth(2).decode(torch.full((1, 12, 2, 2), 90.0))
    assert (decoded == 255).all()


@pytest.mark.parametrize(
    "images", [torch.zeros(1, 8, 8, 3), torch.zeros(8, 8, 3, dtype=torch.uint8)]
)
def test_wrong_input_is_refused(images):
    with pytest.raises(ValueError, match="uint8"):
        SpaceToDepth(4).encode(images)


def test_a_side_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="multiples of 4, got 10 x 8"):
        SpaceToDepth(4).encode(torch.zeros(1, 8, 10, 3, dtype=torch.uint8))

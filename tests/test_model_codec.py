import numpy as np
import pytest
import torch

from nucleus_model.codec import SpaceToDepth


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
    ends = codec.encode(
        torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1).expand(2, 8, 8, 3)
    )
    assert ends.min().item() == pytest.approx(-2)
    assert ends.max().item() == pytest.approx(2)


def test_a_latent_pixel_is_its_square():
    images = torch.zeros(1, 8, 12, 3, dtype=torch.uint8)
    images[0, 4:8, 8:12] = 255
    marked = SpaceToDepth(4).encode(images)[0] > 0
    assert marked[:, 1, 2].all()
    assert marked.sum() == 48


def test_values_outside_are_clipped():
    decoded = SpaceToDepth(2).decode(torch.full((1, 12, 2, 2), 9.0))
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

import numpy as np
import torch

from nucleus_model.data.latents import Latents
from nucleus_model.data.samples import Batch


class CountingCodec:
    channels, factor = 3, 1

    def __init__(self):
        self.encoded = []

    def encode(self, images_BHW3):
        self.encoded.append(len(images_BHW3))
        return images_BHW3.permute(0, 3, 1, 2).float()


def batch(numbers):
    images = np.stack([np.full((2, 4, 3), n, np.uint8) for n in numbers])
    return Batch(tuple(map(str, numbers)), images, ("",) * len(numbers))


def test_an_image_is_encoded_once():
    codec = CountingCodec()
    latents = Latents(codec)
    first = latents.of(batch([1, 2, 3]))
    assert first.shape == (3, 3, 2, 4)
    again = latents.of(batch([3, 4, 1]))
    assert codec.encoded == [1, 1, 1, 1]
    torch.testing.assert_close(again[:, 0, 0, 0], torch.tensor([3.0, 4.0, 1.0]))


def test_together_those_that_are_new_are_encoded_at_once():
    codec = CountingCodec()
    latents = Latents(codec, together=True)
    for numbers, encoded in (([1, 2, 3], [3]), ([3, 4, 1], [3, 1]), ([1, 2], [3, 1])):
        found = latents.of(batch(numbers))
        assert found[:, 0, 0, 0].tolist() == numbers
        assert codec.encoded == encoded

"""What an embedding model is: pictures to unit vectors, texts to unit vectors.

The work is in two halves. Any thread makes pixels and tokens (`prepare`, `tokens`); one thread runs
the model on whole batches of them (`start_images`, `start_texts`, `finish`).

Sums come out in another order in a batch of another size, so all batches of a table have one size,
and a part of one is filled up. In batches of one size, no bit of a row was found to depend on its
place or on the other rows (float32 on CPUs, and on GPUs with kernels that are chosen by shape).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    import torch

Vectors = NDArray[np.float32]
Pixels = NDArray[np.float32]
Precision = Literal["fp32", "bf16"]
# Processor time a picture on two cores of an EPYC: 6.3 ms one by one, 4.7 at 16, 6.2 at 32 (the
# nano model); 178, 118 and 125 (ViT-B/32). GPUs need more work at once.
BATCH_ON_CPU, BATCH_ON_GPU = 16, 64
# A decoder's average over blocks stands before the model's own filter: of a picture that is still
# twice as large, that filter sees nearly what it would see of the whole.
REDUCED_TO = 2


def default_batch(device: str) -> int:
    """Pictures or texts that a device embeds at once unless the settings say otherwise."""
    return BATCH_ON_CPU if device == "cpu" else BATCH_ON_GPU


class Embedder(ABC):
    """A loaded model.

    Attributes:
        batch: N, pictures or texts of each batch.
        width: D, the length of a vector.
        sides: Height and width of the pixels that it takes.
        logit: What a cosine is multiplied with, and what is added, before the model's sigmoid or
            softmax.
    """

    batch: int
    width: int
    sides: tuple[int, int]
    logit: tuple[float, float]

    @property
    def least(self) -> int:
        """The shortest side, in pixels, of a smaller picture that `prepare` may be given."""
        return REDUCED_TO * max(self.sides)

    def room(self) -> Pixels:
        """Zeros, float32 (N, 3, height, width), for the pixels of a batch."""
        return np.zeros((self.batch, 3, *self.sides), np.float32)

    @abstractmethod
    def prepare(self, picture: Image.Image, pixels: Pixels) -> None:
        """Makes the pixels of a picture, by the model's own transform; in any thread.

        Args:
            picture: RGB.
            pixels: Where they go, (3, height, width).
        """

    @abstractmethod
    def tokens(self, texts: Sequence[str]) -> Any:
        """Makes a batch of at most N texts, filled up to N; in any thread."""

    @abstractmethod
    def start_images(self, pixels: Pixels) -> Any:
        """Starts to embed a whole batch. The pixels must stay until it is finished."""

    @abstractmethod
    def start_texts(self, tokens: Any) -> Any:
        """Starts to embed a whole batch."""

    @abstractmethod
    def finish(self, started: Any) -> Vectors:
        """Waits for a batch: float32 (N, D), each of length 1."""

    def images(self, images: Sequence[Image.Image]) -> Vectors:
        """Embeds pictures (RGB): float32 (N, D), each of length 1."""
        parts = []
        for batch in self._batches(images):
            pixels = self.room()
            for picture, place in zip(batch, pixels, strict=False):
                self.prepare(picture, place)
            parts.append(self.finish(self.start_images(pixels))[: len(batch)])
        return self._together(parts)

    def texts(self, texts: Sequence[str]) -> Vectors:
        """Embeds texts: float32 (N, D), each of length 1; what the model has no room for is cut."""
        parts = []
        for batch in self._batches(texts):
            started = self.start_texts(self.tokens(batch))
            parts.append(self.finish(started)[: len(batch)])
        return self._together(parts)

    def _together(self, parts: Sequence[Vectors]) -> Vectors:
        return np.concatenate(parts) if parts else np.zeros((0, self.width), np.float32)

    def _batches(self, items: Sequence[Any]) -> list[Sequence[Any]]:
        return [items[i : i + self.batch] for i in range(0, len(items), self.batch)]

    def _filled(self, texts: Sequence[str]) -> list[str]:
        """A batch of N texts: what is lacking are copies of the last one."""
        return [*texts, *[texts[-1]] * (self.batch - len(texts))]


class TorchEmbedder(Embedder):
    """A model of torch.

    Args:
        device: torch's name of the device that it runs on.
        precision: Precision of its weights and layers.
        batch: N; by default the device's.
    """

    def __init__(self, device: str, precision: Precision, batch: int | None) -> None:
        import torch

        self._torch = torch
        self._device = device
        self._type = torch.bfloat16 if precision == "bf16" else torch.float32
        self.batch = batch or default_batch(device)

    def room(self) -> Pixels:
        """Zeros; where a GPU takes them from, in memory that it can read by itself."""
        shape = (self.batch, 3, *self.sides)
        zeros = self._torch.zeros(shape, pin_memory=self._device.startswith("cuda"))
        pixels: Pixels = zeros.numpy()
        return pixels

    def finish(self, started: "torch.Tensor") -> Vectors:
        """Waits for a batch."""
        vectors: Vectors = started.float().cpu().numpy()
        return vectors

    def _pixels(self, pixels: Pixels) -> "torch.Tensor":
        """The pixels on the device, in the model's precision."""
        return self._torch.from_numpy(pixels).to(self._device, non_blocking=True).to(self._type)


def logit_of(model: Any) -> tuple[float, float]:
    """The scale and the bias that a model of torch was trained with; 1 and 0 where it has none."""
    scale, bias = (getattr(model, name, None) for name in ("logit_scale", "logit_bias"))
    return (
        1.0 if scale is None else scale.detach().float().exp().item(),
        0.0 if bias is None else bias.detach().float().item(),
    )


def normalised(picture: Image.Image, mean: Vectors, std: Vectors, pixels: Pixels) -> None:
    """(value / 255 - mean) / std by channel, with the bits of torchvision's transforms.

    numpy lets other threads run meanwhile, and starts none of its own, as torch does.

    Args:
        picture: RGB, of the pixels' size.
        mean: float32 (3, 1, 1).
        std: float32 (3, 1, 1).
        pixels: Where the result goes, (3, height, width).
    """
    values_CHW = np.asarray(picture).transpose(2, 0, 1)
    np.divide(values_CHW, np.float32(255), out=pixels, dtype=np.float32)
    np.subtract(pixels, mean, out=pixels)
    np.divide(pixels, std, out=pixels)

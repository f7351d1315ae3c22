"""Defines the interface of embedding models, which map pictures and texts to unit vectors.

The work has two steps. Preprocessing to pixels or tokens may happen in any thread (`prepare`,
`tokens`). One thread runs the model on whole batches (`start_images`, `start_texts`, `finish`).

The order of floating-point sums depends on the batch size. So all batches of a table have the same
size, and an incomplete batch is padded. At a fixed batch size, no bit of a row was found to depend
on its position or on the other rows (float32 on CPUs, and on GPUs with kernels that are chosen by
shape).
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
# CPU time per picture in ms, on two cores of an EPYC, at batch sizes 1, 16 and 32: 6.3, 4.7 and 6.2
# for the nano model; 178, 118 and 125 for ViT-B/32. GPUs need larger batches.
BATCH_ON_CPU, BATCH_ON_GPU = 16, 64
# A JPEG decoded at reduced size is averaged over blocks before the model's own resize filter. If it
# is still at least twice as large as the model's input, the result hardly differs.
REDUCED_TO = 2


def default_batch(device: str) -> int:
    """Returns the default batch size on a device, named as in torch."""
    return BATCH_ON_CPU if device == "cpu" else BATCH_ON_GPU


class Embedder(ABC):
    """A loaded embedding model.

    Attributes:
        batch: N, the number of pictures or texts in a batch.
        width: D, the dimension of the vectors.
        sides: Height and width of the model's input, in pixels.
        logit: Scale and bias that turn a cosine into a logit, for the model's sigmoid or softmax.
    """

    batch: int
    width: int
    sides: tuple[int, int]
    logit: tuple[float, float]

    @property
    def least(self) -> int:
        """Minimum length, in pixels, of the sides of a reduced picture for `prepare`."""
        return REDUCED_TO * max(self.sides)

    def room(self) -> Pixels:
        """Returns zeros for the pixels of a batch, float32[N, 3, height, width]."""
        return np.zeros((self.batch, 3, *self.sides), np.float32)

    @abstractmethod
    def prepare(self, picture: Image.Image, pixels: Pixels) -> None:
        """Applies the model's own transform to a picture; in any thread.

        Args:
            picture: The picture, in mode RGB.
            pixels: Receives the result, float32[3, height, width].
        """

    @abstractmethod
    def tokens(self, texts: Sequence[str]) -> Any:
        """Tokenizes at most N texts to a batch, padded to N; in any thread."""

    @abstractmethod
    def start_images(self, pixels: Pixels) -> Any:
        """Starts to embed N pictures; `pixels` must not change until `finish` has returned."""

    @abstractmethod
    def start_texts(self, tokens: Any) -> Any:
        """Starts to embed a batch of N texts."""

    @abstractmethod
    def finish(self, started: Any) -> Vectors:
        """Waits for a started batch; returns its unit vectors, float32[N, D]."""

    def images(self, images: Sequence[Image.Image]) -> Vectors:
        """Embeds any number of RGB pictures; returns unit vectors, float32[number, D]."""
        parts = []
        for batch in self._batches(images):
            pixels = self.room()
            for picture, place in zip(batch, pixels, strict=False):
                self.prepare(picture, place)
            parts.append(self.finish(self.start_images(pixels))[: len(batch)])
        return self._together(parts)

    def texts(self, texts: Sequence[str]) -> Vectors:
        """Embeds any number of texts; returns unit vectors, float32[number, D].

        Texts that exceed the model's context are truncated.
        """
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
        """Pads texts to a batch of N with copies of the last one."""
        return [*texts, *[texts[-1]] * (self.batch - len(texts))]


class TorchEmbedder(Embedder):
    """Base class of embedding models in torch.

    Args:
        device: torch's name of the device.
        precision: Precision of the weights and layers.
        batch: Batch size N; None for `default_batch`.
    """

    def __init__(self, device: str, precision: Precision, batch: int | None) -> None:
        import torch

        self._torch = torch
        self._device = device
        self._type = torch.bfloat16 if precision == "bf16" else torch.float32
        self.batch = batch or default_batch(device)

    def room(self) -> Pixels:
        """Returns zeros for the pixels of a batch; for a GPU, in pinned memory."""
        shape = (self.batch, 3, *self.sides)
        zeros = self._torch.zeros(shape, pin_memory=self._device.startswith("cuda"))
        pixels: Pixels = zeros.numpy()
        return pixels

    def finish(self, started: "torch.Tensor") -> Vectors:
        """Waits for a started batch; returns its unit vectors, float32[N, D]."""
        vectors: Vectors = started.float().cpu().numpy()
        return vectors

    def _pixels(self, pixels: Pixels) -> "torch.Tensor":
        """Returns the pixels on the device, in the model's precision."""
        return self._torch.from_numpy(pixels).to(self._device, non_blocking=True).to(self._type)


def logit_of(model: Any) -> tuple[float, float]:
    """Returns the logit scale and bias with which a torch model was trained; by default 1 and 0."""
    scale, bias = (getattr(model, name, None) for name in ("logit_scale", "logit_bias"))
    return (
        1.0 if scale is None else scale.detach().float().exp().item(),
        0.0 if bias is None else bias.detach().float().item(),
    )


def normalised(picture: Image.Image, mean: Vectors, std: Vectors, pixels: Pixels) -> None:
    """Computes (value / 255 - mean) / std per channel, bit-identical to torchvision's transforms.

    numpy is used since it releases the GIL and, unlike torch, starts no threads of its own.

    Args:
        picture: The picture, in mode RGB, with the size of `pixels`.
        mean: Mean per channel, float32[3, 1, 1].
        std: Standard deviation per channel, float32[3, 1, 1].
        pixels: Receives the result, float32[3, height, width].
    """
    values_CHW = np.asarray(picture).transpose(2, 0, 1)
    np.divide(values_CHW, np.float32(255), out=pixels, dtype=np.float32)
    np.subtract(pixels, mean, out=pixels)
    np.divide(pixels, std, out=pixels)

"""Codecs: from pixels to latents and back.

Real trainings use a VAE (module `vae`). Space-to-depth, in this module, is lossless and needs no
weights, so that the model learns the pixels themselves. Its disadvantage is that 64 tokens cover no
more than 64 x 64 pixels.

Neighbouring pixels are nearly equal, so the channels of plain space-to-depth are highly correlated.
A flow model then spends its capacity on the noise of fine detail, and its errors there are visible
all over the picture. The latents of a VAE are roughly uncorrelated with unit variance. To get the
same here, each square goes through an orthonormal cosine and colour transform, and each coefficient
is divided by its typical size.

Legend of shapes: B batch, H W rows and columns (of pixels in BHW3, of latent pixels in BCHW), C
latent channels, f the codec's factor.
"""

import math
from typing import Protocol

import torch
from torch.nn import functional

MEAN = 0.5
# A compromise between smooth synthetic scenes (whose latents are smaller than 1) and hard-edged
# clip art. Standard deviations of a square's mean: grey, red minus blue, green minus both.
COLOR_STD = (1.5, 0.6, 0.4)
DETAIL = 0.3  # a cosine coefficient of frequency k has about 0.3 / k of the mean's deviation


class Codec(Protocol):
    """Converts images to latents with about zero mean and unit variance, and back."""

    @property
    def channels(self) -> int:
        """Number of latent channels."""

    @property
    def factor(self) -> int:
        """Side of a latent pixel, in image pixels."""

    def encode(self, images_BHW3: torch.Tensor) -> torch.Tensor:
        """Encodes uint8 sRGB (B, H, W, 3) to float32 (B, channels, H / factor, W / factor)."""

    def decode(self, latents_BCHW: torch.Tensor) -> torch.Tensor:
        """Decodes latents (B, C, H, W) to uint8 (B, H * factor, W * factor, 3), clipped."""


def check_images(images_BHW3: torch.Tensor, factor: int) -> None:
    """Checks that a codec can encode images.

    Args:
        images_BHW3: The images.
        factor: The codec's factor.

    Raises:
        ValueError: They are not uint8 (B, H, W, 3), or a side is not a multiple of the factor.
    """
    if images_BHW3.dtype != torch.uint8 or images_BHW3.ndim != 4 or images_BHW3.shape[3] != 3:
        raise ValueError(
            f"images must be uint8 of shape (batch, height, width, 3), got "
            f"{images_BHW3.dtype} {tuple(images_BHW3.shape)}"
        )
    height, width = images_BHW3.shape[1:3]
    if height % factor or width % factor:
        raise ValueError(f"width and height must be multiples of {factor}, got {width} x {height}")


class SpaceToDepth:
    """A codec that turns each square of pixels into one latent pixel of 3 * factor^2 channels.

    Args:
        factor: Side of the square, in pixels.
    """

    def __init__(self, factor: int = 4) -> None:
        self._factor = factor
        # Row k has the cosines of the DCT-II with frequency k, at pixel n; not yet of unit length.
        wave = torch.tensor(
            [
                [math.cos(math.pi * (2 * n + 1) * k / (2 * factor)) for n in range(factor)]
                for k in range(factor)
            ],
            dtype=torch.float64,
        )
        # In float64, so that the basis and its inverse (the transpose) are rounded only once.
        color = torch.tensor([[1, 1, 1], [1, 0, -1], [1, -2, 1]], dtype=torch.float64)
        basis = torch.kron(_unit_rows(color), torch.kron(_unit_rows(wave), _unit_rows(wave)))
        # Amplitudes in photographs fall about as 1 / frequency. Divided by that, the coefficients
        # of all frequencies have a scale of about 1, and the same weight in the loss.
        frequency = torch.arange(factor).square()
        distance = (frequency[:, None] + frequency[None]).double().sqrt()
        share = torch.where(distance > 0, DETAIL / distance.clamp_min(1), 1.0)
        # In the orthonormal basis, the coefficient of a grey square is `factor` times its mean.
        std = factor * torch.tensor(COLOR_STD, dtype=torch.float64)[:, None, None] * share / 4
        self._forward = (basis / std.reshape(-1, 1)).float()
        self._inverse = (basis.T * std.reshape(1, -1)).float()

    @property
    def channels(self) -> int:
        """Number of latent channels: 3 * factor^2."""
        return 3 * self._factor**2

    @property
    def factor(self) -> int:
        """Side of a latent pixel, in image pixels."""
        return self._factor

    def encode(self, images_BHW3: torch.Tensor) -> torch.Tensor:
        """Encodes uint8 (B, H, W, 3) to float32 (B, 3 f^2, H / f, W / f).

        Raises:
            ValueError: The images have another type or shape, or a side is not a multiple of the
                factor.
        """
        check_images(images_BHW3, self._factor)
        values = images_BHW3.permute(0, 3, 1, 2).float() / 255 - MEAN
        squares_BCHW = functional.pixel_unshuffle(values, self._factor)
        return torch.einsum("dc,bchw->bdhw", self._forward.to(values.device), squares_BCHW)

    def decode(self, latents_BCHW: torch.Tensor) -> torch.Tensor:
        """Decodes (B, 3 f^2, H, W) to uint8 (B, H f, W f, 3), clipped to [0, 255]."""
        inverse = self._inverse.to(latents_BCHW.device)
        squares_BCHW = torch.einsum("cd,bdhw->bchw", inverse, latents_BCHW.float())
        values = functional.pixel_shuffle(squares_BCHW, self._factor) + MEAN
        pixels = (values * 255).round().clamp(0, 255).to(torch.uint8)
        return pixels.permute(0, 2, 3, 1).contiguous()


def _unit_rows(matrix: torch.Tensor) -> torch.Tensor:
    return matrix / matrix.norm(dim=1, keepdim=True)

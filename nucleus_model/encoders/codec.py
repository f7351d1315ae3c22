"""Pixels to latents and back.

A real run uses a VAE (module `vae`). Space-to-depth loses nothing, needs no weights, and makes
the image itself what is learned; its price is that 64 tokens show no more than 64 x 64 pixels.

Neighbouring pixels are nearly equal, so plain space-to-depth has channels that all say the same,
and a flow model on them spends itself on the noise of fine detail, whose error fills the picture.
A VAE's latents are about uncorrelated with unit variance; so are these: the squares go through an
orthonormal cosine and colour transform, and each coefficient is divided by what it typically has.

Legend of shapes: B batch, H W rows and columns (of pixels in BHW3, of latent pixels in BCHW), C
latent channels, f the codec's factor.
"""

import math
from typing import Protocol

import torch
from torch.nn import functional

MEAN = 0.5
# Between smooth synthetic scenes (whose latents come out smaller than 1) and hard-edged clip art.
COLOR_STD = (1.5, 0.6, 0.4)  # of a square's mean: grey, red minus blue, green minus both
DETAIL = 0.3  # the cosine coefficient at frequency k has about 0.3 / k of the mean's


class Codec(Protocol):
    """Turns images into latents of about zero mean and unit variance, and back."""

    @property
    def channels(self) -> int:
        """Latent channels."""

    @property
    def factor(self) -> int:
        """Image pixels on the side of one latent pixel."""

    def encode(self, images_BHW3: torch.Tensor) -> torch.Tensor:
        """Encodes uint8 sRGB (B, H, W, 3) to float32 (B, channels, H / factor, W / factor)."""

    def decode(self, latents_BCHW: torch.Tensor) -> torch.Tensor:
        """Decodes latents (B, C, H, W) to uint8 (B, H * factor, W * factor, 3), clipped."""


def check_images(images_BHW3: torch.Tensor, factor: int) -> None:
    """Refuses images that no codec encodes.

    Args:
        images_BHW3: The images.
        factor: The codec's.

    Raises:
        ValueError: They are not uint8 (B, H, W, 3), or a side is no multiple of the factor.
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
    """Each `factor` x `factor` square of pixels becomes one latent pixel of 3 * factor^2 channels.

    Args:
        factor: Side of the square.
    """

    def __init__(self, factor: int = 4) -> None:
        self._factor = factor
        # Rows are the DCT-II's cosines, frequency k at pixel n, not yet of unit length.
        wave = torch.tensor(
            [
                [math.cos(math.pi * (2 * n + 1) * k / (2 * factor)) for n in range(factor)]
                for k in range(factor)
            ],
            dtype=torch.float64,
        )
        # In float64, so that the basis and its inverse, the transpose, are rounded once.
        color = torch.tensor([[1, 1, 1], [1, 0, -1], [1, -2, 1]], dtype=torch.float64)
        basis = torch.kron(_unit_rows(color), torch.kron(_unit_rows(wave), _unit_rows(wave)))
        # Photographs' amplitudes fall about as 1 / frequency; divided by that, coefficients of all
        # frequencies have a scale of about 1 and weigh alike in the loss.
        frequency = torch.arange(factor).square()
        distance = (frequency[:, None] + frequency[None]).double().sqrt()
        share = torch.where(distance > 0, DETAIL / distance.clamp_min(1), 1.0)
        # The mean of a grey square comes out of the orthonormal basis `factor` times larger.
        std = factor * torch.tensor(COLOR_STD, dtype=torch.float64)[:, None, None] * share / 4
        self._forward = (basis / std.reshape(-1, 1)).float()
        self._inverse = (basis.T * std.reshape(1, -1)).float()

    @property
    def channels(self) -> int:
        """Latent channels: 3 * factor^2."""
        return 3 * self._factor**2

    @property
    def factor(self) -> int:
        """Image pixels on the side of one latent pixel."""
        return self._factor

    def encode(self, images_BHW3: torch.Tensor) -> torch.Tensor:
        """Encodes uint8 (B, H, W, 3) to float32 (B, 3 f^2, H / f, W / f).

        Raises:
            ValueError: The images have another type or shape, or a side is no multiple of the
                factor.
        """
        check_images(images_BHW3, self._factor)
        values = images_BHW3.permute(0, 3, 1, 2).float() / 255 - MEAN
        squares_BCHW = functional.pixel_unshuffle(values, self._factor)
        return torch.einsum("dc,bchw->bdhw", self._forward.to(values.device), squares_BCHW)

    def decode(self, latents_BCHW: torch.Tensor) -> torch.Tensor:
        """Decodes (B, 3 f^2, H, W) to uint8 (B, H f, W f, 3); outside [0, 255] it clips."""
        inverse = self._inverse.to(latents_BCHW.device)
        squares_BCHW = torch.einsum("cd,bdhw->bchw", inverse, latents_BCHW.float())
        values = functional.pixel_shuffle(squares_BCHW, self._factor) + MEAN
        pixels = (values * 255).round().clamp(0, 255).to(torch.uint8)
        return pixels.permute(0, 2, 3, 1).contiguous()


def _unit_rows(matrix: torch.Tensor) -> torch.Tensor:
    return matrix / matrix.norm(dim=1, keepdim=True)

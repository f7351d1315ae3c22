"""Rectified flow (Liu et al. 2022, arXiv:2209.03003): packing, velocity, loss and keyed draws.

Legend of shapes: B batch, C latent channels, H W latent rows and columns, S image tokens, P values
of a token (C * patch^2).

Sigma is the share of noise: x_t = (1 - sigma) * data + sigma * noise. The transformer's output is
**data minus noise**; `velocity` returns noise minus data, d x_t / d sigma, which is what the loss
and the sampler want. Nowhere else is the sign turned.
"""

import math
from statistics import NormalDist

import torch

from nucleus_data.hashing import keyed_uint64, keyed_unit
from nucleus_model.network.attention import TextKV
from nucleus_model.network.moe import Routing
from nucleus_model.network.transformer import NucleusTransformer

STANDARD_NORMAL = NormalDist()
SMALLEST_UNIT = 2.0**-53


def pack(latents_BCHW: torch.Tensor, patch: int) -> torch.Tensor:
    """Packs latents into tokens (B, S, P), row by row; in a token: channel, row, column.

    Args:
        latents_BCHW: Latents whose sides are multiples of the patch.
        patch: Latent pixels on the side of a token.
    """
    batch, channels, height, width = latents_BCHW.shape
    grid = latents_BCHW.reshape(
        batch, channels, height // patch, patch, width // patch, patch
    ).permute(0, 2, 4, 1, 3, 5)
    return grid.reshape(batch, (height // patch) * (width // patch), channels * patch**2)


def unpack(tokens_BSP: torch.Tensor, height: int, width: int, patch: int) -> torch.Tensor:
    """Unpacks tokens to latents (B, C, H, W): the inverse of `pack`.

    Args:
        tokens_BSP: Tokens.
        height: Of the latents, in latent pixels.
        width: Of the latents, in latent pixels.
        patch: Latent pixels on the side of a token.
    """
    batch, _, values = tokens_BSP.shape
    grid = tokens_BSP.reshape(
        batch, height // patch, width // patch, values // patch**2, patch, patch
    ).permute(0, 3, 1, 4, 2, 5)
    return grid.reshape(batch, values // patch**2, height, width)


def grid_of(latents_BCHW: torch.Tensor, patch: int) -> tuple[int, int]:
    """Returns the rows and columns of image tokens that latents are packed into."""
    height, width = latents_BCHW.shape[2:]
    return height // patch, width // patch


def velocity(
    model: NucleusTransformer, noisy_BCHW: torch.Tensor, sigma_B: torch.Tensor, text: TextKV
) -> torch.Tensor:
    """Asks the model for noise minus data, (B, C, H, W).

    Args:
        model: The transformer.
        noisy_BCHW: The mixture of data and noise.
        sigma_B: Share of noise, 0 to 1.
        text: The prompts' keys and values for this grid, from the model's `encode_text`.
    """
    patch = model.config.patch_size
    height, width = noisy_BCHW.shape[2:]
    output = model(pack(noisy_BCHW, patch), sigma_B, text, grid_of(noisy_BCHW, patch))
    return -unpack(output.tokens_BSP, height, width, patch)


def flow_loss(
    model: NucleusTransformer,
    latents_BCHW: torch.Tensor,
    noise_BCHW: torch.Tensor,
    sigma_B: torch.Tensor,
    text: TextKV,
) -> torch.Tensor:
    """Computes the mean squared error of the velocity, (B,): one figure a sample.

    Args:
        model: The transformer.
        latents_BCHW: The data.
        noise_BCHW: Standard normal noise.
        sigma_B: Share of noise, 0 to 1.
        text: The prompts' keys and values for this grid, from the model's `encode_text`.
    """
    return flow_loss_and_routing(model, latents_BCHW, noise_BCHW, sigma_B, text, False)[0]


def flow_loss_and_routing(
    model: NucleusTransformer,
    latents_BCHW: torch.Tensor,
    noise_BCHW: torch.Tensor,
    sigma_B: torch.Tensor,
    text: TextKV,
    with_routing: bool = True,
) -> tuple[torch.Tensor, dict[int, Routing]]:
    """Computes `flow_loss`, and tells what each router did, by the block's number, if asked."""
    patch = model.config.patch_size
    height, width = latents_BCHW.shape[2:]
    sigma_B111 = sigma_B[:, None, None, None]
    noisy_BCHW = (1 - sigma_B111) * latents_BCHW + sigma_B111 * noise_BCHW
    grid = grid_of(noisy_BCHW, patch)
    # Passed only if asked, so that whatever answers as a plain transformer does will do here.
    asked = {"with_routing": True} if with_routing else {}
    output = model(pack(noisy_BCHW, patch), sigma_B, text, grid, **asked)
    error = -unpack(output.tokens_BSP, height, width, patch) - (noise_BCHW - latents_BCHW)
    return error.square().mean(dim=(1, 2, 3)), output.routing


def draw_sigma(seed: int, key: str, *, mu: float, std: float, uniform_share: float) -> float:
    """Draws a sigma in (0, 1), as a function of the arguments alone.

    Logit-normal (Esser et al. 2024, arXiv:2403.03206), mixed with a share of uniform ones, so that
    neither end is never seen.

    Args:
        seed: Of the draw, with the key.
        key: Such as the epoch and the sample's id.
        mu: Mean of the logit.
        std: Standard deviation of the logit.
        uniform_share: Share of uniform sigmas, 0 to 1.
    """
    # Not 0, whose logit is minus infinity.
    unit = max(keyed_unit("sigma", seed, key), SMALLEST_UNIT)
    if keyed_unit("sigma-kind", seed, key) < uniform_share:
        return unit
    return 1 / (1 + math.exp(-(mu + std * STANDARD_NORMAL.inv_cdf(unit))))


def draw_noise(seed: int, key: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Draws standard normal noise on the CPU, as a function of the arguments alone."""
    # Shifted, as torch takes seeds of 63 bits; on the CPU, as a device would change the values.
    generator = torch.Generator().manual_seed(keyed_uint64("noise", seed, key) >> 1)
    return torch.randn(shape, generator=generator)

"""Rectified flow (Liu et al. 2022, arXiv:2209.03003): packing, velocity, loss and keyed draws.

Legend of shapes: B batch, C latent channels, H W latent rows and columns, S image tokens, P values
of a token (C * patch^2).

Sigma is the share of noise: x_t = (1 - sigma) * data + sigma * noise. The transformer predicts
**data minus noise**. `velocity` returns noise minus data, d x_t / d sigma, which the loss and the
sampler need. The sign is changed in this module only.
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
    """Packs latents into tokens (B, S, P), row by row; P is ordered by channel, row, column.

    Args:
        latents_BCHW: Latents whose sides are multiples of the patch.
        patch: Side of a token, in latent pixels.
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
        height: Height of the latents, in latent pixels.
        width: Width of the latents, in latent pixels.
        patch: Side of a token, in latent pixels.
    """
    batch, _, values = tokens_BSP.shape
    grid = tokens_BSP.reshape(
        batch, height // patch, width // patch, values // patch**2, patch, patch
    ).permute(0, 3, 1, 4, 2, 5)
    return grid.reshape(batch, values // patch**2, height, width)


def grid_of(latents_BCHW: torch.Tensor, patch: int) -> tuple[int, int]:
    """Returns the numbers of rows and columns of image tokens that latents are packed into."""
    height, width = latents_BCHW.shape[2:]
    return height // patch, width // patch


def velocity(
    model: NucleusTransformer, noisy_BCHW: torch.Tensor, sigma_B: torch.Tensor, text: TextKV
) -> torch.Tensor:
    """Predicts the velocity, noise minus data: (B, C, H, W).

    Args:
        model: The transformer.
        noisy_BCHW: The mixture of data and noise, x_t.
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
    """Computes the mean squared error of the velocity of each sample: (B,).

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
    """Computes `flow_loss`, and returns the routing of each MoE block by its number, if wanted."""
    patch = model.config.patch_size
    height, width = latents_BCHW.shape[2:]
    sigma_B111 = sigma_B[:, None, None, None]
    noisy_BCHW = (1 - sigma_B111) * latents_BCHW + sigma_B111 * noise_BCHW
    grid = grid_of(noisy_BCHW, patch)
    # Passed only if wanted, so that models without this argument can be used here.
    options = {"with_routing": True} if with_routing else {}
    output = model(pack(noisy_BCHW, patch), sigma_B, text, grid, **options)
    error = -unpack(output.tokens_BSP, height, width, patch) - (noise_BCHW - latents_BCHW)
    return error.square().mean(dim=(1, 2, 3)), output.routing


def draw_sigma(seed: int, key: str, *, mu: float, std: float, uniform_share: float) -> float:
    """Draws a sigma in (0, 1), determined by the arguments alone.

    The distribution is logit-normal (Esser et al. 2024, arXiv:2403.03206), mixed with a share of
    uniform sigmas, so that both ends of the range are trained.

    Args:
        seed: Seed of the draw.
        key: Key of the draw, such as the epoch and the sample's id.
        mu: Mean of the logit.
        std: Standard deviation of the logit.
        uniform_share: Share of uniform sigmas, 0 to 1.
    """
    # 0 is excluded, as its logit is minus infinity.
    unit = max(keyed_unit("sigma", seed, key), SMALLEST_UNIT)
    if keyed_unit("sigma-kind", seed, key) < uniform_share:
        return unit
    return 1 / (1 + math.exp(-(mu + std * STANDARD_NORMAL.inv_cdf(unit))))


def draw_noise(seed: int, key: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Draws standard normal noise on the CPU, determined by the arguments alone."""
    # Shifted, as torch takes seeds of 63 bits. On the CPU, as other devices draw other values.
    generator = torch.Generator().manual_seed(keyed_uint64("noise", seed, key) >> 1)
    return torch.randn(shape, generator=generator)

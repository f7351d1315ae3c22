"""Samples latents and images from noise, with guidance.

    images = sample_images(model, text, codec, ["a red square"], [0], width=64, height=64)

Guidance (Ho and Salimans 2022, arXiv:2207.12598) computes v = v_empty + scale * (v_text - v_empty),
then rescales each token's vector to the length of v_text, as the published pipeline does. Sigmas
and steps are those of a solver (module `solver`), by default the published one. Keys and values of
the prompts, and of the negative ones, are computed once for all steps.

Legend of shapes: B batch, C latent channels, H W latent rows and columns, S image tokens, P values
of a token, L text tokens, T width of a text state.
"""

from collections.abc import Sequence

import numpy as np
import torch

from nucleus_model.encoders.codec import Codec
from nucleus_model.encoders.text import TextEncoder
from nucleus_model.network.attention import TextKV
from nucleus_model.network.flow import pack, unpack, velocity
from nucleus_model.network.transformer import NucleusTransformer
from nucleus_model.sampling.solver import solve


@torch.no_grad()
def encode_prompts(
    model: NucleusTransformer, text: TextEncoder, prompts: Sequence[str], grid: tuple[int, int]
) -> TextKV:
    """Computes the prompts' keys and values; only once, if all prompts are equal.

    Args:
        model: The transformer.
        text: The text encoder that it was trained with.
        prompts: The prompts, one per image.
        grid: Rows and columns of image tokens.
    """
    once = len(set(prompts)) == 1
    states_BLT, mask_BL = text.encode(prompts[:1] if once else prompts)
    text_kv = model.encode_text(states_BLT.to(model.proj_out.weight.dtype), mask_BL, grid)
    return text_kv.expand(len(prompts)) if once else text_kv


@torch.no_grad()
def sample_latents(
    model: NucleusTransformer,
    noise_BCHW: torch.Tensor,
    text: TextKV,
    negative: TextKV | None,
    *,
    steps: int,
    guidance: float,
    solver: str = "euler",
) -> torch.Tensor:
    """Samples latents (B, C, H, W) from noise of the same shape.

    Args:
        model: The transformer.
        noise_BCHW: Standard normal noise.
        text: The prompts, one per image, from `encode_prompts`.
        negative: The negative prompts, one per image; None is allowed only with a guidance of 1.
        steps: Number of steps of the solver.
        guidance: Scale of the guidance; at 1 the negative prompt is not evaluated.
        solver: A key of `nucleus_model.sampling.solver.SOLVERS`.

    Raises:
        ValueError: Guidance needs a negative prompt, or there is no such solver.
    """
    if guidance != 1 and negative is None:
        raise ValueError(f"a guidance of {guidance} needs a negative prompt, which may be empty")
    patch = model.config.patch_size
    height, width = noise_BCHW.shape[2:]
    dtype = text.layers[0][0].dtype  # that of the model; the latents keep that of the noise
    x_BCHW = noise_BCHW
    for sigma, advance in solve(solver, steps):
        sigma_B = torch.full((len(x_BCHW),), sigma, device=x_BCHW.device)
        v_BCHW = velocity(model, x_BCHW.to(dtype), sigma_B, text).to(x_BCHW.dtype)
        if guidance != 1 and negative is not None:
            v_empty_BCHW = velocity(model, x_BCHW.to(dtype), sigma_B, negative).to(x_BCHW.dtype)
            guided_BSP = guide(pack(v_BCHW, patch), pack(v_empty_BCHW, patch), guidance)
            v_BCHW = unpack(guided_BSP, height, width, patch)
        x_BCHW = advance(v_BCHW, x_BCHW)
    return x_BCHW


def seeded_noise(model: NucleusTransformer, seed: int, shape: tuple[int, int, int]) -> torch.Tensor:
    """Draws the same noise (C, H, W) as diffusers' pipeline does for one picture.

    Args:
        model: The transformer. The noise depends on its precision.
        seed: Seed of a `torch.Generator` on the CPU.
        shape: Shape of the latents, (C, H, W).
    """
    generator = torch.Generator().manual_seed(seed)
    noise_CHW = torch.randn(shape, generator=generator, dtype=model.proj_out.weight.dtype)
    return noise_CHW.float()


def guide(text_BSP: torch.Tensor, empty_BSP: torch.Tensor, scale: float) -> torch.Tensor:
    """Applies guidance to tokens (B, S, P), and rescales each to the length it has in `text_BSP`.

    Args:
        text_BSP: Velocity with the prompt.
        empty_BSP: Velocity with the negative prompt.
        scale: Scale of the guidance.
    """
    combined_BSP = empty_BSP + scale * (text_BSP - empty_BSP)
    length_BS1 = combined_BSP.norm(dim=-1, keepdim=True)
    # A token of length 0 stays 0: it is divided by the smallest positive number.
    wanted_BS1 = text_BSP.norm(dim=-1, keepdim=True)
    return combined_BSP * (wanted_BS1 / length_BS1.clamp_min(torch.finfo(length_BS1.dtype).tiny))


def sample_images(
    model: NucleusTransformer,
    text: TextEncoder,
    codec: Codec,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    width: int,
    height: int,
    negative: str | Sequence[str] = "",
    steps: int = 50,
    guidance: float = 4.0,
    solver: str = "euler",
    batch_size: int = 8,
) -> np.ndarray:
    """Draws one image per prompt: uint8 (prompts, height, width, 3).

    An image depends on its prompt, its seed and the settings, but not on the rest of the batch
    (except for rounding).

    Args:
        model: The transformer.
        text: The text encoder that it was trained with.
        codec: The codec that it was trained with.
        prompts: The prompts; an empty one is unconditional.
        seeds: The seeds, one per prompt.
        width: Width in pixels; a multiple of codec factor times patch.
        height: Height in pixels; a multiple of codec factor times patch.
        negative: The negative prompt of the guidance, or one per prompt.
        steps: Number of steps of the solver.
        guidance: Scale of the guidance; 1 is none.
        solver: A key of `nucleus_model.sampling.solver.SOLVERS`.
        batch_size: Images per batch.

    Raises:
        ValueError: A side is not a multiple of codec factor times patch, the number of seeds or
            negative prompts is not that of the prompts, or there is no such solver.
    """
    negatives = [negative] * len(prompts) if isinstance(negative, str) else list(negative)
    if not len(prompts) == len(seeds) == len(negatives):
        raise ValueError(
            f"{len(prompts)} prompts need the same number of seeds and negative prompts, got "
            f"{len(seeds)} and {len(negatives)}"
        )
    grid, shape = shapes(model, codec, width, height)
    device = next(model.parameters()).device
    images = []
    for start in range(0, len(prompts), batch_size):
        part = slice(start, start + batch_size)
        # Noise depends on the seed alone, not on a picture's place in the batch.
        noise = torch.stack([seeded_noise(model, seed, shape) for seed in seeds[part]])
        text_kv = encode_prompts(model, text, prompts[part], grid)
        # Without guidance, the negative prompt is not evaluated, which halves the work.
        empty = encode_prompts(model, text, negatives[part], grid) if guidance != 1 else None
        latents_BCHW = sample_latents(
            model,
            noise.to(device),
            text_kv,
            empty,
            steps=steps,
            guidance=guidance,
            solver=solver,
        )
        images.append(codec.decode(latents_BCHW).cpu().numpy())
    return np.concatenate(images)


def sample_grid(
    model: NucleusTransformer,
    text: TextEncoder,
    codec: Codec,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    width: int,
    height: int,
    steps: int = 20,
    guidance: float = 4.0,
) -> np.ndarray:
    """Draws a grid with a row per prompt and a column per seed, by Euler's method.

    All images of a column start from the same noise. All prompts are computed as one batch.

    Args:
        model: The transformer.
        text: The text encoder that it was trained with.
        codec: The codec that it was trained with.
        prompts: The prompt of each row.
        seeds: The seed of each column.
        width: Width in pixels; a multiple of codec factor times patch.
        height: Height in pixels; a multiple of codec factor times patch.
        steps: Number of steps of the solver.
        guidance: Scale of the guidance; 1 is none.

    Returns:
        Images, uint8 (prompts, seeds, height, width, 3).

    Raises:
        ValueError: A side is not a multiple of codec factor times patch.
    """
    grid, shape = shapes(model, codec, width, height)
    device = next(model.parameters()).device
    text_kv = encode_prompts(model, text, prompts, grid)
    empty = None
    if guidance != 1:
        empty = encode_prompts(model, text, [""], grid).expand(len(prompts))
    columns = []
    for seed in seeds:
        noise_BCHW = seeded_noise(model, seed, shape).to(device).expand(len(prompts), *shape)
        latents_BCHW = sample_latents(
            model, noise_BCHW, text_kv, empty, steps=steps, guidance=guidance
        )
        columns.append(codec.decode(latents_BCHW).cpu().numpy())
    return np.stack(columns, axis=1)


def shapes(
    model: NucleusTransformer, codec: Codec, width: int, height: int
) -> tuple[tuple[int, int], tuple[int, int, int]]:
    """Returns the grid of tokens and the shape of the latents for a size in pixels.

    Raises:
        ValueError: A side is not a multiple of a token's side.
    """
    side = codec.factor * model.config.patch_size
    if width % side or height % side:
        raise ValueError(
            f"width and height must be multiples of {side} (codec factor times patch), got "
            f"{width} x {height}"
        )
    shape = (codec.channels, height // codec.factor, width // codec.factor)
    return (height // side, width // side), shape

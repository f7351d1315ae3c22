"""The sampler: steps from noise to latents, with guidance.

    images = sample_images(model, text, codec, ["a red square"], [0], width=64, height=64)

Guidance (Ho and Salimans 2022, arXiv:2207.12598): v = v_empty + scale * (v_text - v_empty), then
each token's vector is rescaled to the length that v_text had, as the published pipeline does.
Sigmas and steps are those of a solver (module `solver`), by default the published one. The prompts'
keys and values, and those of the empty prompt, are computed once a run.

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
    """Computes the prompts' keys and values; once, if all prompts are equal.

    Args:
        model: The transformer.
        text: The text encoder that it was trained with.
        prompts: One an image.
        grid: Rows and columns of image tokens.
    """
    once = len(set(prompts)) == 1
    states_BLT, mask_BL = text.encode(prompts[:1] if once else prompts)
    found = model.encode_text(states_BLT.to(model.proj_out.weight.dtype), mask_BL, grid)
    return found.expand(len(prompts)) if once else found


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
    """Makes latents (B, C, H, W) of noise of that shape.

    Args:
        model: The transformer.
        noise_BCHW: Standard normal.
        text: The prompts, one an image, from `encode_prompts`.
        negative: What guidance leads away from, one an image; None only with a guidance of 1.
        steps: Steps of the solver.
        guidance: Scale of the guidance; at 1 the negative prompt is not evaluated.
        solver: A key of `nucleus_model.sampling.solver.SOLVERS`.

    Raises:
        ValueError: Guidance without a negative prompt, or no such solver.
    """
    if guidance != 1 and negative is None:
        raise ValueError(f"a guidance of {guidance} needs a negative prompt, if only the empty one")
    patch = model.config.patch_size
    height, width = noise_BCHW.shape[2:]
    dtype = text.layers[0][0].dtype  # the model's; the latents stay in the noise's
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
    """Draws the noise (C, H, W) that diffusers' pipeline draws for one picture of a seed.

    Args:
        model: In whose precision it is drawn; other precisions have other noise.
        seed: Of a `torch.Generator` on the CPU.
        shape: Of the latents.
    """
    generator = torch.Generator().manual_seed(seed)
    noise_CHW = torch.randn(shape, generator=generator, dtype=model.proj_out.weight.dtype)
    return noise_CHW.float()


def guide(text_BSP: torch.Tensor, empty_BSP: torch.Tensor, scale: float) -> torch.Tensor:
    """Applies guidance to tokens (B, S, P), and rescales each to the length of its `text` one.

    Args:
        text_BSP: Velocity with the prompt.
        empty_BSP: Velocity with the negative prompt.
        scale: Of the guidance.
    """
    combined_BSP = empty_BSP + scale * (text_BSP - empty_BSP)
    length_BS1 = combined_BSP.norm(dim=-1, keepdim=True)
    # A token of length 0 stays 0: it is divided by the smallest number, not by nothing.
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
    """Draws one image a prompt: uint8 (prompts, height, width, 3).

    An image depends on its prompt, its seed and the settings, not on what else is in the batch (but
    for rounding).

    Args:
        model: The transformer.
        text: The text encoder that it was trained with.
        codec: The codec that it was trained with.
        prompts: Texts; the empty one is the unconditional.
        seeds: One a prompt.
        width: In pixels; a multiple of codec factor times patch.
        height: In pixels; a multiple of codec factor times patch.
        negative: The text that guidance leads away from, or one a prompt.
        steps: Steps of the solver.
        guidance: Scale of the guidance; 1 is none.
        solver: A key of `nucleus_model.sampling.solver.SOLVERS`.
        batch_size: Images at once.

    Raises:
        ValueError: The size is no multiple, or there are not as many seeds or negative texts as
            prompts.
    """
    negatives = [negative] * len(prompts) if isinstance(negative, str) else list(negative)
    if not len(prompts) == len(seeds) == len(negatives):
        raise ValueError(
            f"{len(prompts)} prompts need as many seeds and negative prompts, got {len(seeds)} and "
            f"{len(negatives)}"
        )
    grid, shape = shapes(model, codec, width, height)
    device = next(model.parameters()).device
    images = []
    for start in range(0, len(prompts), batch_size):
        part = slice(start, start + batch_size)
        # Keyed by the seed alone: a picture's noise does not depend on its place in the batch.
        noise = torch.stack([seeded_noise(model, seed, shape) for seed in seeds[part]])
        text_kv = encode_prompts(model, text, prompts[part], grid)
        # Without guidance the negative text is not asked, which halves the work.
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
    """Draws a row a prompt and a column a seed: uint8 (prompts, seeds, height, width, 3).

    A column starts from the same noise in every row. All prompts are one batch.

    Args:
        model: The transformer.
        text: The text encoder that it was trained with.
        codec: The codec that it was trained with.
        prompts: One a row.
        seeds: One a column.
        width: In pixels; a multiple of codec factor times patch.
        height: In pixels; a multiple of codec factor times patch.
        steps: Steps of the solver, Euler's.
        guidance: Scale of the guidance; 1 is none.

    Raises:
        ValueError: The size is no multiple.
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
        ValueError: A side is no multiple of a token's.
    """
    side = codec.factor * model.config.patch_size
    if width % side or height % side:
        raise ValueError(
            f"width and height must be multiples of {side} (codec factor times patch), got "
            f"{width} x {height}"
        )
    shape = (codec.channels, height // codec.factor, width // codec.factor)
    return (height // side, width // side), shape

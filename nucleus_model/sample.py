"""The sampler (Euler, with guidance) and the grid of samples.

Guidance: v = v_empty + scale * (v_text - v_empty), then each token's vector is rescaled to the
length that v_text had. Sigmas go in equal steps from 1 to 1/N, then to 0; no shift.
"""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from nucleus_model.codec import Codec
from nucleus_model.flow import draw_noise, pack, unpack, velocity
from nucleus_model.text import TextEncoder

if TYPE_CHECKING:
    from diffusers.models.transformers.transformer_nucleusmoe_image import (
        NucleusMoEImageTransformer2DModel,
    )

PADDING = 2
BACKGROUND = 255


@torch.no_grad()
def sample_latents(
    model: "NucleusMoEImageTransformer2DModel",
    text: TextEncoder,
    prompts: Sequence[str],
    noise_BCHW: torch.Tensor,
    *,
    steps: int,
    guidance: float,
) -> torch.Tensor:
    """Latents (B, C, H, W) for prompts, from noise of that shape.

    Args:
        model: The transformer.
        text: The text encoder that it was trained with.
        prompts: One a sample.
        noise_BCHW: Standard normal.
        steps: Euler steps, N.
        guidance: Its scale; at 1 the empty prompt is not evaluated.
    """
    patch = model.config["patch_size"]
    height, width = noise_BCHW.shape[2:]
    text_BLD, mask_BL = text.encode(prompts)
    empty_BLD, empty_mask_BL = text.encode([""] * len(prompts))
    sigmas = [*np.linspace(1.0, 1 / steps, steps).tolist(), 0.0]
    x_BCHW = noise_BCHW
    for sigma, following in pairwise(sigmas):
        sigma_B = torch.full((len(prompts),), sigma, device=x_BCHW.device)
        v_BCHW = velocity(model, x_BCHW, sigma_B, text_BLD, mask_BL)
        if guidance != 1:
            v_empty_BCHW = velocity(model, x_BCHW, sigma_B, empty_BLD, empty_mask_BL)
            guided_BSP = guide(pack(v_BCHW, patch), pack(v_empty_BCHW, patch), guidance)
            v_BCHW = unpack(guided_BSP, height, width, patch)
        x_BCHW = x_BCHW + (following - sigma) * v_BCHW
    return x_BCHW


def guide(text_BSP: torch.Tensor, empty_BSP: torch.Tensor, scale: float) -> torch.Tensor:
    """Guidance on tokens (B, S, P), each rescaled to its conditional length; zero stays zero."""
    combined_BSP = empty_BSP + scale * (text_BSP - empty_BSP)
    length_BS1 = combined_BSP.norm(dim=-1, keepdim=True)
    wanted_BS1 = text_BSP.norm(dim=-1, keepdim=True)
    return combined_BSP * (wanted_BS1 / length_BS1.clamp_min(torch.finfo(length_BS1.dtype).tiny))


def sample_grid(
    model: "NucleusMoEImageTransformer2DModel",
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
    """Samples, one row a prompt and one column a seed: uint8 (prompts, seeds, height, width, 3).

    A column starts from the same noise in every row.

    Args:
        model: The transformer.
        text: The text encoder that it was trained with.
        codec: The codec that it was trained with.
        prompts: Texts; the empty one is the unconditional.
        seeds: One a column.
        width: Pixels; a multiple of codec factor times patch.
        height: Pixels; likewise.
        steps: Euler steps.
        guidance: Scale.
    """
    device = next(model.parameters()).device
    shape = (codec.channels, height // codec.factor, width // codec.factor)
    columns = []
    for seed in seeds:
        noise_CHW = draw_noise(seed, "sample", shape).to(device)
        noise_BCHW = noise_CHW.expand(len(prompts), *shape)
        latents_BCHW = sample_latents(
            model, text, prompts, noise_BCHW, steps=steps, guidance=guidance
        )
        columns.append(codec.decode(latents_BCHW).cpu().numpy())
    return np.stack(columns, axis=1)


def tile(images: np.ndarray) -> np.ndarray:
    """One picture of (rows, columns, height, width, 3), with a white border around each cell."""
    rows, columns, height, width, _ = images.shape
    step_y, step_x = height + PADDING, width + PADDING
    shape = (rows * step_y + PADDING, columns * step_x + PADDING, 3)
    canvas = np.full(shape, BACKGROUND, np.uint8)
    for row in range(rows):
        for column in range(columns):
            top, left = PADDING + row * step_y, PADDING + column * step_x
            canvas[top : top + height, left : left + width] = images[row, column]
    return canvas


def write_grid(
    folder: Path, images: np.ndarray, prompts: Sequence[str], seeds: Sequence[int], **facts: Any
) -> None:
    """Writes `samples.png` and `samples.json`.

    Args:
        folder: Where.
        images: As `sample_grid` returns them.
        prompts: One a row.
        seeds: One a column.
        facts: What else belongs into the JSON (steps, guidance).
    """
    Image.fromarray(tile(images)).save(folder / "samples.png")
    record = {
        "file": "samples.png",
        "rows": list(prompts),
        "columns": list(seeds),
        "cell_height": images.shape[2],
        "cell_width": images.shape[3],
        "padding": PADDING,
        **facts,
    }
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    (folder / "samples.json").write_text(text, encoding="utf-8")

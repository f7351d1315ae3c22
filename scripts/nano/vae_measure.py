"""How much of a picture the nano VAE brings back."""

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from diffusers import AutoencoderKLQwenImage
from PIL import Image

from nucleus_data.world.scenes import LEVELS, Level
from scripts.nano.measuring import held_out, psnr, table, trained, write_card
from scripts.nano.training import HELD_OUT_SEED, say

COUNT = 40
BARS = {"psnr_128": 28.0}
SIDES = (64, 128, 256)
CARD = """# nano VAE

An `AutoencoderKLQwenImage` (factor 8, 16 channels, as the real one) of {millions:.2f} M parameters,
trained from nothing on scenes of `nucleus_data.world`, for pictures of 64 to 256 pixels a side.

- Made by `python scripts/build_nano_models.py vae`: {trained}
- Measured by `python scripts/build_nano_models.py vae --measure`: PSNR in dB (mean over pictures)
  of {count} clean pictures a level of world {held_out}, scaled to squares of 64, 128 and 256
  pixels, encoded to the posterior's mean and decoded. The bar holds on core.

{table}

`latents_mean` and `latents_std` were measured on training pictures. Weights are bfloat16. Licence:
as the package.
"""


@torch.inference_mode()
def vae_figures(
    vae: AutoencoderKLQwenImage, count: int, level: Level, sides: Sequence[int] = SIDES
) -> dict[str, float]:
    """Mean PSNR in dB, of pictures of each side."""
    rows = held_out(count, level)
    figures = {}
    for side in sides:
        values = []
        for row in rows:
            image = np.asarray(row.image.resize((side, side), Image.Resampling.LANCZOS))
            pixels = torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 127.5 - 1
            latents = vae.encode(pixels[None, :, None]).latent_dist.mode()
            back = vae.decode(latents).sample[0, :, 0].clamp(-1, 1)
            restored = ((back.permute(1, 2, 0) + 1) * 127.5).round().numpy()
            values.append(psnr(image, restored))
        figures[f"psnr_{side}"] = float(np.mean(values))
    return figures


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Measures the VAE in `args.out`, and writes its card."""
    folder = args.out / "vae"
    vae = (
        AutoencoderKLQwenImage.from_pretrained(
            folder, local_files_only=True, low_cpu_mem_usage=False
        )
        .float()
        .eval()
    )
    by_level = {level: vae_figures(vae, COUNT, level) for level in LEVELS}
    say(f"vae: {by_level}")
    rows = {
        name: (
            by_level["core"][name],
            by_level["full"][name],
            f">= {BARS[name]} dB" if name in BARS else "",
        )
        for name in by_level["core"]
    }
    text = CARD.format(
        millions=sum(p.numel() for p in vae.parameters()) / 1e6,
        trained=trained(folder),
        count=COUNT,
        held_out=HELD_OUT_SEED,
        table=table(rows),
    )
    write_card(folder, text, by_level["core"])
    return by_level["core"]

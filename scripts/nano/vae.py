"""The VAE: a small `AutoencoderKLQwenImage`, factor 8 and 16 channels as the real one.

It is trained on single pictures, where every causal convolution sees zeros for the frames before:
only the last slice of its kernel in time matters, so training runs it as a two-dimensional
convolution, three times as fast and with the same result.
"""

import argparse
import math

import numpy as np
import torch
from diffusers import AutoencoderKLQwenImage
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import QwenImageCausalConv3d
from torch import nn
from torch.nn import functional as F

from nucleus_data.world.painting import render
from nucleus_data.world.scenes import scene
from scripts.nano.training import ASSETS, SEEDS, Progress, say, start, train

NAME = "vae"
SEED = SEEDS[NAME]
FOLDER = ASSETS / NAME
SIDES = (64, 64, 96, 128)
RATE, SCENES = 3e-3, 12
KL_WEIGHT = 1e-5
FULL_SHARE = 0.5


def build_model() -> AutoencoderKLQwenImage:
    """The VAE with random weights."""
    torch.manual_seed(0)
    model = AutoencoderKLQwenImage(
        base_dim=16,
        z_dim=16,
        dim_mult=[1, 2, 3, 4],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * 16,
        latents_std=[1.0] * 16,
    )
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            # The default counts all three frames; of a single one it leaves a tenth of the signal.
            fan = module.weight[0, :, -1] if module.weight.ndim == 5 else module.weight[0]
            gain = 0.5 if "conv2" in name else 1.0
            nn.init.normal_(module.weight, std=gain / math.sqrt(fan.numel()))
            nn.init.zeros_(module.bias)
            if module.weight.ndim == 5:
                module.weight.data[:, :, :-1] = 0
    return model


def one_frame(
    module: QwenImageCausalConv3d, x: torch.Tensor, cache_x: object = None
) -> torch.Tensor:
    """The causal convolution of a first frame: x is (B, C, 1, H, W)."""
    if x.shape[2] != 1 or cache_x is not None:
        raise ValueError("only single frames; use the class itself for videos")
    left, right, top, bottom, *_ = module._padding
    flat = F.pad(x[:, :, 0], (left, right, top, bottom))
    out = F.conv2d(flat, module.weight[:, :, -1], module.bias, stride=module.stride[1:])
    return out[:, :, None]


class Batcher:
    """Batches of pictures; the first steps are small crops, for speed."""

    def __init__(self, pictures: int) -> None:
        self.pictures = pictures

    def __call__(self, step: int) -> dict[str, torch.Tensor]:
        """`pixels`: (B, 3, side, side), -1 to 1."""
        rng = np.random.default_rng([SEED, step, 9])
        side = SIDES[step % len(SIDES)]
        count = max(2, round(self.pictures * (64 / side) ** 2))
        stack = []
        for i in range(count):
            facts = scene(
                SEED, step * self.pictures + i, "full" if rng.random() < FULL_SHARE else "core"
            )
            # The whole picture at this side, or a crop of a larger one.
            scale = 1.0 if rng.random() < 0.6 else float(rng.uniform(1.2, 3))
            width = round(side * scale)
            picture = np.asarray(render(facts, width, width))
            x, y = (int(rng.integers(width - side + 1)) for _ in range(2))
            stack.append(picture[y : y + side, x : x + side])
        pixels = torch.from_numpy(np.stack(stack)).permute(0, 3, 1, 2).float()
        return {"pixels": pixels / 127.5 - 1}


def build(args: argparse.Namespace) -> Progress:
    """Trains, measures the latents' mean and deviation, and writes the assets."""
    start(args)
    model = build_model()
    say(f"vae: {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters")
    whole = QwenImageCausalConv3d.forward
    QwenImageCausalConv3d.forward = one_frame

    def restore(batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, float]]:
        pixels = batch["pixels"][:, :, None]
        with torch.autocast("cpu", torch.bfloat16):  # twice as fast
            posterior = model.encode(pixels).latent_dist
            back = model.decode(posterior.sample()).sample.float()
        square = F.mse_loss(back, pixels)
        near = F.l1_loss(back, pixels)
        kl = posterior.kl().mean() / pixels[0].numel()
        psnr = 10 * math.log10(4 / max(square.item(), 1e-9))
        return near + 5 * square + KL_WEIGHT * kl, {"psnr": psnr, "kl": kl.item()}

    try:
        at = train(NAME, model, Batcher(args.scenes), restore, args, rate=args.lr, weight_decay=0.0)
        with torch.no_grad():
            samples = [
                model.encode(Batcher(16)(10**8 + i)["pixels"][:, :, None]).latent_dist.mean
                for i in range(16)
            ]
    finally:
        QwenImageCausalConv3d.forward = whole
    values = torch.cat([s.permute(1, 0, 2, 3, 4).flatten(1) for s in samples], 1)
    model.register_to_config(
        latents_mean=[round(v, 4) for v in values.mean(1).tolist()],
        latents_std=[round(v, 4) for v in values.std(1).tolist()],
    )
    model.to(torch.bfloat16).save_pretrained(args.out / NAME)
    return at

"""Pixels to latents by a Qwen-Image VAE, as the pipeline of diffusers uses it.

Latents are the posterior's mode, less `latents_mean`, over `latents_std` of the VAE's own
configuration, so that they have about zero mean and unit variance.
"""

from typing import Any

import torch

from nucleus_data.engines.find import NANO, VAE, resolve_model
from nucleus_data.errors import RequestError
from nucleus_model.encoders.codec import check_images


class VaeCodec:
    """A frozen `AutoencoderKLQwenImage` as a `Codec`.

    Args:
        model: `nano`, a folder in diffusers' format, or a hub name (its subfolder `vae`).
        revision: Of a hub name.
        device: Where it runs.

    Raises:
        RequestError: There is no such folder, or it holds another model.
    """

    def __init__(self, model: str = NANO, revision: str | None = None, device: str = "cpu") -> None:
        from diffusers import AutoencoderKLQwenImage

        found = resolve_model(model, revision, VAE)
        options = found.options() | ({} if found.local else {"subfolder": "vae"})
        # Asked first, as from_pretrained of another class's folder would not name the class.
        name = AutoencoderKLQwenImage.load_config(found.location, **options)["_class_name"]
        if name != "AutoencoderKLQwenImage":
            raise RequestError(
                f"{VAE.key}: {model} is a {name!r}, allowed is 'AutoencoderKLQwenImage'"
            )
        vae: Any = AutoencoderKLQwenImage.from_pretrained(
            found.location, use_safetensors=True, low_cpu_mem_usage=False, **options
        )
        self.vae = vae.float().to(device).eval().requires_grad_(False)
        self.device = device
        shape = (1, -1, 1, 1, 1)  # (batch, channels, frames, rows, columns): it is a video VAE
        self.mean = torch.tensor(self.vae.config.latents_mean, device=device).view(shape)
        self.std = torch.tensor(self.vae.config.latents_std, device=device).view(shape)

    @property
    def channels(self) -> int:
        """Latent channels."""
        return int(self.vae.config.z_dim)

    @property
    def factor(self) -> int:
        """Image pixels on the side of one latent pixel."""
        return int(self.vae.spatial_compression_ratio)

    @torch.no_grad()
    def encode(self, images_BHW3: torch.Tensor) -> torch.Tensor:
        """Encodes uint8 (B, H, W, 3) to float32 (B, channels, H / factor, W / factor).

        Raises:
            ValueError: The images have another type or shape, or a side is no multiple of the
                factor.
        """
        check_images(images_BHW3, self.factor)
        pixels = images_BHW3.to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        # The mode, not a draw: an image's latents must be the same whenever they are asked for.
        latents = self.vae.encode(pixels[:, :, None]).latent_dist.mode()
        return ((latents - self.mean) / self.std)[:, :, 0]

    @torch.no_grad()
    def decode(self, latents_BCHW: torch.Tensor) -> torch.Tensor:
        """Decodes (B, channels, H, W) to uint8 (B, H factor, W factor, 3) on the CPU, clipped."""
        latents = latents_BCHW.to(self.device).float()[:, :, None] * self.std + self.mean
        pixels = self.vae.decode(latents).sample[:, :, 0].clamp(-1, 1)
        return ((pixels.permute(0, 2, 3, 1) + 1) * 127.5).round().to(torch.uint8).cpu()

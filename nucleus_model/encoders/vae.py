"""A codec that uses a Qwen-Image VAE, in the same way as the pipeline of diffusers.

Latents are (mode - `latents_mean`) / `latents_std`, with the mode of the posterior, and mean and
std of the VAE's configuration. So they have about zero mean and unit variance.
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
        revision: Revision, for a hub name.
        device: The torch device.

    Raises:
        RequestError: The VAE does not exist, or the folder contains another kind of model.
    """

    def __init__(self, model: str = NANO, revision: str | None = None, device: str = "cpu") -> None:
        from diffusers import AutoencoderKLQwenImage

        reference = resolve_model(model, revision, VAE)
        options = reference.options() | ({} if reference.local else {"subfolder": "vae"})
        # Checked first, as the error of from_pretrained would not name the wrong class.
        name = AutoencoderKLQwenImage.load_config(reference.location, **options)["_class_name"]
        if name != "AutoencoderKLQwenImage":
            raise RequestError(
                f"{VAE.key}: {model} is a {name!r}; allowed: 'AutoencoderKLQwenImage'"
            )
        vae: Any = AutoencoderKLQwenImage.from_pretrained(
            reference.location, use_safetensors=True, low_cpu_mem_usage=False, **options
        )
        self.vae = vae.float().to(device).eval().requires_grad_(False)
        self.device = device
        shape = (1, -1, 1, 1, 1)  # (batch, channels, frames, rows, columns): it is a video VAE
        self.mean = torch.tensor(self.vae.config.latents_mean, device=device).view(shape)
        self.std = torch.tensor(self.vae.config.latents_std, device=device).view(shape)

    @property
    def channels(self) -> int:
        """Number of latent channels."""
        return int(self.vae.config.z_dim)

    @property
    def factor(self) -> int:
        """Side of a latent pixel, in image pixels."""
        return int(self.vae.spatial_compression_ratio)

    @torch.no_grad()
    def encode(self, images_BHW3: torch.Tensor) -> torch.Tensor:
        """Encodes uint8 (B, H, W, 3) to float32 (B, channels, H / factor, W / factor).

        Raises:
            ValueError: The images have another type or shape, or a side is not a multiple of the
                factor.
        """
        check_images(images_BHW3, self.factor)
        pixels = images_BHW3.to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        # The mode, not a random draw: an image's latents must always be the same.
        latents = self.vae.encode(pixels[:, :, None]).latent_dist.mode()
        return ((latents - self.mean) / self.std)[:, :, 0]

    @torch.no_grad()
    def decode(self, latents_BCHW: torch.Tensor) -> torch.Tensor:
        """Decodes (B, channels, H, W) to uint8 (B, H factor, W factor, 3) on the CPU, clipped."""
        latents = latents_BCHW.to(self.device).float()[:, :, None] * self.std + self.mean
        pixels = self.vae.decode(latents).sample[:, :, 0].clamp(-1, 1)
        return ((pixels.permute(0, 2, 3, 1) + 1) * 127.5).round().to(torch.uint8).cpu()

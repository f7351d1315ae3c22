"""Settings of the quick-train, free of torch: a recipe can be read and checked without it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from nucleus_data.models import NANO


class TextSettings(BaseModel):
    """Which tower, and which of its states (published: Qwen3-VL-8B, state -8, 1024 tokens)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        default=NANO,
        description="nano (the tiny captioner that comes with the package), a folder of a Qwen3-VL "
        "in transformers' format, or a hub name.",
    )
    revision: str | None = Field(
        default=None, description="Commit or tag of a hub model; required for one."
    )
    hidden_state: int = Field(
        default=-2, description="Which hidden state; -1 is the last one, after the final norm."
    )
    max_tokens: int = Field(
        default=256,
        ge=16,
        le=4096,
        description="Longer prompts are cut (and counted), template included.",
    )
    system_prompt: str = Field(
        default="Draw what is described.",
        description="Fixed system prompt; a short one is faster, as all image tokens see it.",
    )
    cache_bytes: int = Field(
        default=256 << 20,
        ge=0,
        description="Memory for the states of prompts seen before, in bytes.",
    )


class QuickTrainSettings(BaseModel):
    """Settings of the quick-train; the defaults suit a laptop and some hundred images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: Literal["nano", "debug", "small", "base"] = Field(
        default="nano",
        description="Size of the transformer; small is for one GPU, base the published one.",
    )
    resolution: int | None = Field(
        default=None, ge=8, description="Which resolution of the set; empty for its smallest."
    )
    limit: int | None = Field(
        default=None,
        ge=1,
        description="Only the set's first so many samples, in the order of their ids (--limit).",
    )
    sample: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Only this share of the set's samples, by a keyed hash of the id (--sample).",
    )
    steps: int = Field(default=600, ge=1, description="Optimizer steps.")
    batch_size: int = Field(
        default=8,
        ge=1,
        description="Images a step; a bucket's last batch has fewer. Many small steps learn more "
        "from as many images than a few large ones, at this size.",
    )
    optimizer: Literal["adamw", "muon"] = Field(
        default="adamw",
        description="adamw for all parameters; or muon for the matrices inside blocks.",
    )
    lr: float = Field(default=2e-3, gt=0, description="Peak learning rate.")
    warmup: int = Field(
        default=20, ge=0, description="Steps over which the learning rate rises from 0."
    )
    decay_share: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="Last share of the steps, over which it falls to 0 again.",
    )
    weight_decay: float = Field(
        default=0.01, ge=0, description="Of matrices; norms and biases have none."
    )
    clip: float = Field(default=1.0, gt=0, description="Gradients are scaled down to this norm.")
    seed: int = Field(
        default=0, ge=0, description="Decides weights, order, captions, sigmas and noise."
    )
    caption_dropout: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Share of samples trained with the empty text, for guidance.",
    )
    timestep_mu: float = Field(
        default=0.5,
        description="Mean of the logit of sigma; higher is noisier. 0.5 is for 256 tokens.",
    )
    timestep_std: float = Field(
        default=1.0, gt=0, description="Standard deviation of the logit of sigma."
    )
    timestep_uniform: float = Field(default=0.1, ge=0, le=1, description="Share of uniform sigmas.")
    holdout_share: float = Field(
        default=0.05, ge=0, lt=1, description="Share of samples held out, by a hash of their ids."
    )
    holdout_limit: int = Field(
        default=32, ge=0, description="At most so many of them are measured."
    )
    holdout_times: int = Field(
        default=4,
        ge=1,
        description="How often the held-out loss is measured, the last step included.",
    )
    codec: Literal["space_to_depth", "vae"] = Field(
        default="space_to_depth",
        description="Pixels to latents: squares of pixels as they are, or a Qwen-Image VAE.",
    )
    codec_factor: int = Field(
        default=4,
        ge=1,
        description="space_to_depth: side of the squares of pixels that become one latent pixel.",
    )
    vae: str = Field(
        default=NANO,
        description="vae: nano (the small one that comes with the package), a folder of an "
        "AutoencoderKLQwenImage in diffusers' format, or a hub name (its subfolder `vae`).",
    )
    vae_revision: str | None = Field(
        default=None, description="Commit or tag of a hub VAE; required for one."
    )
    text: TextSettings = Field(default=TextSettings(), description="The text encoder.")
    sample_prompts: tuple[str, ...] = Field(
        default=(), description="Prompts of the grid; empty for captions from the set."
    )
    sample_rows: int = Field(
        default=6, ge=1, description="How many captions, if no prompts are given."
    )
    sample_seeds: tuple[int, ...] = Field(
        default=(0, 1, 2), min_length=1, description="One column of the grid a seed."
    )
    sample_steps: int = Field(default=20, ge=1, description="Euler steps.")
    guidance: float = Field(default=4.0, ge=1, description="Scale of the guidance; 1 is none.")
    threads: int = Field(
        default=1,
        ge=1,
        description="CPU threads; another number gives other last bits. Two threads on cores that "
        "others use can be many times slower than one.",
    )
    device: str = Field(
        default="cpu", description="Where it runs; equal bits are promised for cpu only."
    )
    image_cache_bytes: int = Field(
        default=1 << 30, ge=0, description="Memory for decoded images, in bytes."
    )
    latent_cache_bytes: int = Field(
        default=256 << 20, ge=0, description="Memory for encoded images, in bytes."
    )

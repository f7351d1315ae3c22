"""Counts a model's parameters and tokens without weights, on torch's meta device.

The sizes of a text encoder and a VAE come from the configuration in their folder. For names on the
hub, they come from `PUBLISHED` below, so that nothing is downloaded.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nucleus_data.engines.find import TEXT_ENCODER, VAE, ModelKind, resolve_model
from nucleus_data.errors import RequestError
from nucleus_model.encoders.towers import check_state, language_sizes
from nucleus_model.settings.presets import PRESETS
from nucleus_model.settings.settings import QuickTrainSettings

# Excerpts of the configuration files that the models' authors published.
PUBLISHED: dict[str, dict[str, Any]] = {
    "Qwen/Qwen3-VL-8B-Instruct": {"text_config": {"hidden_size": 4096, "num_hidden_layers": 36}},
    "Qwen/Qwen-Image": {"z_dim": 16, "temperal_downsample": [False, True, True]},
}


@dataclass(frozen=True)
class ModelSize:
    """Sizes of a transformer and of its input.

    Attributes:
        parameters: Number of all parameters.
        active: Mean number of parameters that an image token uses: all except the routed experts,
            and of these, as many experts per block as its capacity factor (an expert takes
            factor / experts of the tokens).
        latent_channels: Channels of the codec's latents.
        factor: Side of a latent pixel, in image pixels.
        text_width: Width of the text encoder's states.
        pixels_a_token: Side of a token's square, in image pixels.
        tokens: Tokens of a square image at the first phase's resolution; None if the training set
            determines the resolution.
    """

    parameters: int
    active: int
    latent_channels: int
    factor: int
    text_width: int
    pixels_a_token: int
    tokens: int | None


def model_size(settings: QuickTrainSettings) -> ModelSize:
    """Builds the transformer on the meta device, and counts its parameters and tokens.

    Args:
        settings: The settings; preset, text encoder, codec and first phase are used.

    Raises:
        RequestError: The device, a model or the hidden state does not exist, a model's sizes are
            not known without its files, or the resolution is not a multiple of a token's side.
    """
    import torch

    from nucleus_model.network.transformer import NucleusTransformer

    try:
        torch.device(settings.device)
    except RuntimeError as error:
        raise RequestError(f"quick_train.device is {settings.device!r}: {error}") from None
    text = language_sizes(
        settings.text.model, _config(settings.text.model, settings.text.revision, TEXT_ENCODER)
    )
    check_state(settings.text, text["num_hidden_layers"])
    channels, factor = _latents(settings)
    preset = PRESETS[settings.preset]
    with torch.device("meta"):
        model = NucleusTransformer(preset.transformer_config(channels, text["hidden_size"]))
    total = sum(p.numel() for p in model.parameters())
    # An expert takes factor / experts of the tokens, so a token uses `factor` experts of a block on
    # average. All blocks with experts have the same size.
    routed = {name: p.numel() for name, p in model.named_parameters() if ".experts." in name}
    per_block = sum(routed.values()) / max(1, sum(f > 0 for f in preset.capacity_factors))
    active = total - sum(routed.values())
    active += round(per_block / preset.experts * sum(preset.capacity_factors))
    pixels = factor * preset.patch
    return ModelSize(
        parameters=total,
        active=active,
        latent_channels=channels,
        factor=factor,
        text_width=text["hidden_size"],
        pixels_a_token=pixels,
        tokens=_tokens(settings.plan()[0].resolution, pixels),
    )


def _latents(settings: QuickTrainSettings) -> tuple[int, int]:
    if settings.codec == "space_to_depth":
        return 3 * settings.codec_factor**2, settings.codec_factor
    config = _config(settings.vae, settings.vae_revision, VAE)
    return int(config["z_dim"]), 2 ** len(config["temperal_downsample"])


def _tokens(resolution: int | None, pixels: int) -> int | None:
    if resolution is None:
        return None
    side, rest = divmod(resolution, pixels)
    if rest:
        raise RequestError(
            f"quick_train.resolution must be a multiple of a token's side, {pixels} pixels, "
            f"got {resolution}"
        )
    return side**2


def _config(model: str, revision: str | None, kind: ModelKind) -> dict[str, Any]:
    reference = resolve_model(model, revision, kind)
    if reference.local:
        content: dict[str, Any] = json.loads((Path(reference.location) / kind.config).read_text())
        return content
    if reference.name not in PUBLISHED:
        raise RequestError(
            f"{kind.key}: the sizes of {model!r} are not known; give a folder with its "
            f"{kind.config}, or one of {', '.join(PUBLISHED)}"
        )
    return PUBLISHED[reference.name]

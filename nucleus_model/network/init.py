"""Builds a transformer whose every parameter is initialised by a rule, from a seed.

diffusers leaves the routed experts as `torch.empty`, whatever was in memory. Here each parameter
has exactly one rule, found by its name, and its own generator keyed by (seed, name), so neither
order nor the global generator matters.
"""

import math

import torch

from nucleus_data.hashing import keyed_uint64
from nucleus_model.network.transformer import NucleusTransformer
from nucleus_model.settings.presets import Preset

# Blocks start as the identity, the output as zero (adaLN-Zero, Peebles and Xie 2023,
# arXiv:2212.09748).
ZERO = ("img_mod.1.", "norm_out.linear.", "proj_out.")
ROUTER_STD = 0.02


def build_transformer(
    preset: Preset, *, latent_channels: int, text_width: int, seed: int
) -> NucleusTransformer:
    """Builds a transformer in float32 on the CPU, initialised by `initialise`.

    Args:
        preset: Its size.
        latent_channels: Channels of the codec's latents.
        text_width: Width of the text encoder's hidden states.
        seed: Decides every value.
    """
    with torch.device("meta"):  # where construction draws no numbers
        model = NucleusTransformer(preset.transformer_config(latent_channels, text_width))
    # What `to_empty` does, but that imports sympy, half a second of each command that trains.
    room = {
        name: torch.empty(value.shape, dtype=value.dtype)
        for name, value in model.state_dict().items()
    }
    model.load_state_dict(room, assign=True)
    initialise(model, seed)
    return model


@torch.no_grad()
def initialise(model: torch.nn.Module, seed: int) -> None:
    """Writes every parameter of a Nucleus transformer, in place.

    Matrices are normal with standard deviation 1/sqrt(fan in), the stacked experts (E, in, out)
    expert by expert; the router's with 0.02; norms are one; biases, modulation and output zero.

    Raises:
        ValueError: A parameter fits no rule.
    """
    for name, parameter in model.named_parameters():
        # A generator of its own: one more parameter would otherwise change all that follow.
        generator = torch.Generator().manual_seed(keyed_uint64("init", seed, name) >> 1)
        # Stacked experts are (E, in, out), linear layers (out, in): fan in is dimension 1 of both.
        if any(part in name for part in ZERO) or name.endswith(".bias"):
            parameter.zero_()
        elif name.endswith((".experts.gate_up_proj", ".experts.down_proj")):
            _normal(parameter, 1 / math.sqrt(parameter.shape[1]), generator)
        elif name.endswith(".img_mlp.gate.weight"):
            _normal(parameter, ROUTER_STD, generator)
        elif parameter.ndim == 1 and "norm" in name:
            parameter.fill_(1.0)
        elif parameter.ndim == 2:
            _normal(parameter, 1 / math.sqrt(parameter.shape[1]), generator)
        else:
            raise ValueError(
                f"no initialisation rule for the parameter {name} of shape "
                f"{tuple(parameter.shape)}; add one to nucleus_model.network.init"
            )


def _normal(parameter: torch.Tensor, std: float, generator: torch.Generator) -> None:
    # Drawn on the CPU, so that a device does not change the values.
    parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)

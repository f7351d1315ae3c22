"""Builds a transformer, and initialises every parameter by a rule, from a seed.

diffusers leaves the routed experts uninitialised (`torch.empty`). Here each parameter has exactly
one rule, found by its name, and a generator of its own keyed by (seed, name), so its values depend
neither on the order of parameters nor on the global generator.
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
        preset: The model's size.
        latent_channels: Channels of the codec's latents.
        text_width: Width of the text encoder's hidden states.
        seed: Determines every value.
    """
    with torch.device("meta"):  # construction then draws no random numbers
        model = NucleusTransformer(preset.transformer_config(latent_channels, text_width))
    # As `to_empty` does, but that imports sympy, which takes half a second.
    room = {
        name: torch.empty(value.shape, dtype=value.dtype)
        for name, value in model.state_dict().items()
    }
    model.load_state_dict(room, assign=True)
    initialise(model, seed)
    return model


@torch.no_grad()
def initialise(model: torch.nn.Module, seed: int) -> None:
    """Initialises every parameter of a Nucleus transformer, in place.

    Matrices, including each of the stacked experts (E, in, out), are normal with standard deviation
    1/sqrt(fan in); the router's matrices, with 0.02. Norm weights are one. Biases, modulation and
    output are zero.

    Args:
        model: The transformer.
        seed: Determines every value.

    Raises:
        ValueError: A parameter fits no rule.
    """
    for name, parameter in model.named_parameters():
        # A generator per parameter: otherwise an added parameter would change all after it.
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
    # Drawn on the CPU, as other devices draw other values.
    parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)

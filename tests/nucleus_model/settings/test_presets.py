import inspect

import pytest
import torch
from pydantic import ValidationError

from nucleus_model.network.transformer import NucleusTransformer
from nucleus_model.settings.presets import PRESETS, Preset


@pytest.mark.parametrize("name", PRESETS)
def test_no_class_default_is_used(diffusers, name):
    config = PRESETS[name].transformer_config(latent_channels=48, text_width=64)
    assert config.model_dump().keys() == set(
        inspect.signature(diffusers.NucleusMoEImageTransformer2DModel).parameters
    )


def test_nano_is_small_and_wide_enough_for_a_token():
    config = PRESETS["nano"].transformer_config(latent_channels=16, text_width=128)
    with torch.device("meta"):
        blocks = NucleusTransformer(config)
    assert 1e6 < sum(parameter.numel() for parameter in blocks.parameters()) < 3e6
    assert PRESETS["nano"].width > config.in_channels == 64


def test_small_fits_one_gpu():
    """With optimizer state, 16 bytes a parameter."""
    config = PRESETS["small"].transformer_config(latent_channels=16, text_width=4096)
    with torch.device("meta"):
        model = NucleusTransformer(config)
    assert 1e8 < sum(parameter.numel() for parameter in model.parameters()) < 2e8


def test_base_is_the_published_size(diffusers):
    """Counted on the meta device; diffusers' class with the same configuration has as many."""
    config = PRESETS["base"].transformer_config(latent_channels=16, text_width=4096)
    with torch.device("meta"):
        model = NucleusTransformer(config)
        reference = diffusers.NucleusMoEImageTransformer2DModel(**config.model_dump(mode="json"))
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    assert sizes == {name: p.numel() for name, p in reference.named_parameters()}
    routed = {name: size for name, size in sizes.items() if ".experts." in name}
    assert round(sum(sizes.values()) / 1e9, 2) == 16.92
    assert round(sum(routed.values()) / 1e9, 2) == 15.33
    # An expert takes factor / experts of the tokens, so a token meets `factor` of a block's.
    met = {layer: factor / 64 for layer, factor in enumerate(config.capacity_factors)}
    active = sum(size * met[int(name.split(".")[1])] for name, size in routed.items())
    active += sum(sizes.values()) - sum(routed.values())
    assert round(active / 1e9, 2) == 2.11


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rope_axes": (8, 8, 6)}, "sum to head_dim"),
        ({"rope_axes": (7, 9, 8)}, "even"),
        ({"kv_heads": 3}, "divide"),
        ({"capacity_factors": (0.0,)}, "capacity_factors"),
        ({"capacity_factors": (2.0, 0.0)}, "capacity_factors"),
        ({"mlp_ratio": 1.0}, "narrower"),
        ({"depth": 3}, "depth"),
    ],
)
def test_impossible_sizes_are_refused(change, message):
    with pytest.raises(ValidationError, match=message):
        Preset.model_validate(PRESETS["debug"].model_dump() | change)

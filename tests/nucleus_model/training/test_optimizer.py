from collections import Counter

import pytest
import torch

from nucleus_model.network.init import build_transformer
from nucleus_model.network.transformer import NucleusTransformer
from nucleus_model.settings.presets import PRESETS
from nucleus_model.training.optimizer import (
    QUINTIC,
    Muon,
    build_optimizers,
    grouped,
    newton_schulz,
)


def model():
    return build_transformer(PRESETS["debug"], latent_channels=4, text_width=24, seed=0)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(8, 24), (24, 8), (16, 16), (3, 8, 24), (3, 24, 8)])
def test_newton_schulz_keeps_directions_and_evens_their_lengths(shape, precision):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    found = newton_schulz(matrices, precision=precision)
    assert (found.shape, found.dtype) == (matrices.shape, matrices.dtype)
    lengths = torch.linalg.svdvals(found)
    assert 0.5 < lengths.min() < lengths.max() < 1.3
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    nearest = left @ right
    cosine = (found * nearest).sum() / (found.norm() * nearest.norm())
    assert cosine > 0.97


@pytest.mark.parametrize("shape", [(16, 80), (80, 16), (2, 16, 32), (16, 20), (2, 16, 16)])
def test_newton_schulz_is_the_published_iteration(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(5))
    a, b, c = QUINTIC
    wanted = matrices / matrices.norm(dim=(-2, -1), keepdim=True)
    for _ in range(5):
        gram = wanted @ wanted.mT
        wanted = a * wanted + b * gram @ wanted + c * gram @ gram @ wanted
    torch.testing.assert_close(newton_schulz(matrices), wanted, rtol=1e-4, atol=2e-6)


def test_a_stack_is_as_many_matrices():
    stack = torch.randn((4, 6, 10), generator=torch.Generator().manual_seed(2))
    apart = torch.stack([newton_schulz(matrix) for matrix in stack])
    torch.testing.assert_close(newton_schulz(stack), apart, rtol=1e-5, atol=1e-6)


def test_an_update_of_a_matrix_is_that_of_torch():
    generator = torch.Generator().manual_seed(3)
    ours, theirs = (torch.nn.Parameter(torch.ones(12, 20)) for _ in range(2))
    one = Muon([ours], lr=0.1, weight_decay=0.1)
    other = torch.optim.Muon(
        [theirs], lr=0.1, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    for _ in range(5):
        ours.grad = torch.randn(12, 20, generator=generator)
        theirs.grad = ours.grad.clone()
        one.step()
        other.step()
    # torch iterates in bfloat16.
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0.02)
    assert (ours - 1).abs().max() > 0.15


def test_updates_of_any_shape_have_the_size_of_adamw_s():
    for shape in [(8, 64), (64, 8), (5, 16, 48)]:
        parameter = torch.nn.Parameter(torch.zeros(shape))
        optimizer = Muon([parameter], lr=1.0)
        parameter.grad = torch.randn(shape, generator=torch.Generator().manual_seed(4))
        optimizer.step()
        assert parameter.square().mean().sqrt().item() == pytest.approx(0.2, rel=0.25)


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_every_parameter_is_in_exactly_one_group(kind):
    built = model()
    optimizers = build_optimizers(built, kind, lr=1e-3, weight_decay=0.1)
    counts = Counter(
        id(parameter)
        for optimizer in optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
    )
    assert counts == Counter(id(parameter) for parameter in built.parameters())
    assert [type(optimizer) for optimizer in optimizers][-1] is torch.optim.AdamW
    for group in optimizers[-1].param_groups:
        assert all((p.ndim == 1) == (group["weight_decay"] == 0) for p in group["params"])


def test_experts_and_attention_are_muon_s_and_ends_are_not():
    built = model()
    names = {id(parameter): name for name, parameter in built.named_parameters()}
    groups = {
        kind: {names[id(p)].removeprefix("transformer_blocks.1.") for p in parameters}
        for kind, parameters in grouped(built).items()
    }
    muon = {"attn.to_q.weight", "encoder_proj.weight", "img_mlp.experts.gate_up_proj"}
    assert (
        muon | {"img_mlp.experts.down_proj", "img_mlp.shared_expert.net.2.weight"} <= groups["muon"]
    )
    assert {"img_mod.1.weight", "proj_out.weight", "img_mlp.gate.weight"} <= groups["adamw"]
    assert {"img_mod.1.bias", "txt_norm.weight", "attn.norm_q.weight"} <= groups["adamw_plain"]


def test_unknown_parameters_are_refused():
    built = model()
    built.register_parameter("extra", torch.nn.Parameter(torch.zeros(2, 2)))
    with pytest.raises(ValueError, match="no rule assigns an optimizer to the parameter extra"):
        grouped(built)
    with pytest.raises(ValueError, match=r"got a parameter of shape \(3,\)"):
        Muon([torch.nn.Parameter(torch.zeros(3))])


def test_the_published_model_fits_the_rules():
    with torch.device("meta"):
        groups = grouped(NucleusTransformer(PRESETS["base"].transformer_config(16, 4096)))
    sizes = {kind: sum(p.numel() for p in parameters) for kind, parameters in groups.items()}
    assert sizes["muon"] > 0.9 * sum(sizes.values())

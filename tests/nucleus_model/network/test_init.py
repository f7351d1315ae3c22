import pytest
import torch

from nucleus_model.network import init
from nucleus_model.network.init import build_transformer, initialise
from nucleus_model.settings.presets import PRESETS


def build(seed):
    return build_transformer(PRESETS["debug"], latent_channels=12, text_width=32, seed=seed)


def unwritten():
    """Names of parameters that `initialise` leaves as they were."""
    model = build(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(float("nan"))
    initialise(model, 0)
    return [name for name, parameter in model.named_parameters() if not parameter.isfinite().all()]


def test_every_parameter_is_written():
    assert unwritten() == []


def test_experts_left_as_they_were_are_found(monkeypatch):
    """In diffusers they are whatever the memory held."""
    write = init._normal
    monkeypatch.setattr(init, "_normal", lambda p, *rest: write(p, *rest) if p.ndim < 3 else None)
    experts = "transformer_blocks.1.img_mlp.experts"
    assert unwritten() == [f"{experts}.gate_up_proj", f"{experts}.down_proj"]


def test_experts_have_their_scale_and_differ():
    experts = build(0).transformer_blocks[1].img_mlp.experts
    for stacked in (experts.gate_up_proj, experts.down_proj):
        assert stacked.std().item() == pytest.approx(stacked.shape[1] ** -0.5, rel=0.05)
        assert (stacked[0] != stacked[1]).all()


def test_the_seed_alone_decides():
    torch.manual_seed(1)
    first = build(7).state_dict()
    torch.manual_seed(2)
    before = torch.get_rng_state()
    second = build(7).state_dict()
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = build(8).state_dict()
    name = "transformer_blocks.1.img_mlp.experts.down_proj"
    assert not torch.equal(first[name], other[name])


def test_output_starts_at_zero_and_can_learn():
    model = build(0)
    grid = (2, 3)
    text = model.encode_text(torch.randn(2, 8, 32), None, grid)
    output = model(torch.randn(2, 6, 48), torch.tensor([0.2, 0.9]), text, grid).tokens_BSP
    assert not output.any()
    (output - torch.randn_like(output)).square().mean().backward()
    assert model.proj_out.weight.grad.abs().max() > 0


def test_an_unknown_parameter_is_refused():
    model = torch.nn.Module()
    model.surprise = torch.nn.Parameter(torch.zeros(2, 2, 2))
    with pytest.raises(ValueError, match="surprise"):
        initialise(model, 0)

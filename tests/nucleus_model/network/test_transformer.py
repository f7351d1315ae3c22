"""What the transformer does beyond diffusers' class: routing, capacity, refusals, precision."""

import subprocess
import sys

import pytest
import torch

from nucleus_model.network.moe import Routing, capacity
from nucleus_model.network.transformer import NucleusTransformer
from tests.nucleus_model.network.test_parity import difference, inputs, ours
from tests.support.model import random_config, random_model


def routed(model, given):
    text = model.encode_text(given["states"], given["mask"], given["grid"])
    return model(given["tokens"], given["sigma"], text, given["grid"], with_routing=True).routing


def test_statistics_are_those_counted_by_hand():
    chosen = torch.tensor([[[0, 1], [1, 2], [1, 3]], [[0, 1], [0, 1], [0, 1]]])
    routing = Routing(chosen, tokens=5, z_loss=torch.tensor(0.0))
    assert routing.load().tolist() == [[1, 3, 1, 1, 0], [3, 3, 0, 0, 0]]
    found = routing.statistics()
    assert found == pytest.approx({"uncovered": 0.4, "single": 0.3, "coverage": 0.6, "max_load": 3})


def test_routing_is_of_each_block_with_experts_and_only_on_request():
    config = random_config(num_layers=3, capacity_factors=2.0)
    model, given = random_model(config), inputs(config)
    routing = routed(model, given)
    assert list(routing) == [1, 2]
    assert [tuple(found.chosen_BEC.shape) for found in routing.values()] == [(3, 8, 4)] * 2
    assert not torch.equal(routing[1].chosen_BEC, routing[2].chosen_BEC)
    text = model.encode_text(given["states"], None, given["grid"])
    assert model(given["tokens"], given["sigma"], text, given["grid"]).routing == {}


@pytest.mark.parametrize("again", [False, True])
def test_z_loss_is_the_mean_of_squared_logsumexp_and_teaches_the_router(again):
    model, seen = random_model(), []
    given = inputs(model.config)
    layer = model.blocks[1].img_mlp
    layer.register_forward_hook(lambda _, args, __: seen.append(args[1:3]))
    model.gradient_checkpointing = again
    z_loss = routed(model, given)[1].z_loss
    plain, time = seen[0]
    logits = layer.gate(torch.cat((time[:, None].expand_as(plain), plain), dim=-1))
    assert z_loss.item() == pytest.approx(logits.exp().sum(-1).log().square().mean().item())
    z_loss.backward()
    assert layer.gate.weight.grad.abs().max() > 0
    assert layer.experts.down_proj.grad is None


def test_capacity_counts_up():
    assert [capacity(factor, 256, 64) for factor in (8.0, 4.0, 2.0)] == [32, 16, 8]
    assert (capacity(1.3, 15, 8), capacity(0.01, 15, 8)) == (3, 1)


def test_a_phase_changes_the_capacity():
    model = random_model()
    given = inputs(model.config)
    before = ours(model, given)
    model.set_capacity_factors(8.0)
    assert model.config.capacity_factors == (0.0, 8.0)
    assert routed(model, given)[1].statistics()["uncovered"] == 0
    assert difference(ours(model, given), before) > 1e-3
    model.set_capacity_factors([0.0, 2.0])
    assert torch.equal(ours(model, given), before)
    for wrong in ([2.0], [0.0, 0.0], -1.0):
        with pytest.raises(ValueError, match="capacity_factors must be 2 numbers"):
            model.set_capacity_factors(wrong)
    assert model.config.capacity_factors == (0.0, 2.0)


def test_text_of_another_batch_or_grid_is_refused():
    model = random_model()
    given = inputs(model.config, (4, 4))
    text = model.encode_text(given["states"], given["mask"], (4, 4))
    tokens, sigma = given["tokens"], given["sigma"]
    with pytest.raises(ValueError, match=r"2 x 4 is not that of 16 tokens"):
        model(tokens, sigma, text, (2, 4))
    with pytest.raises(
        ValueError, match=r"positions from 2; these are 3, from 4: call encode_text"
    ):
        model(tokens, sigma, text, (2, 8))
    with pytest.raises(ValueError, match=r"for 3 images and .* these are 2"):
        model(tokens[:2], sigma[:2], text, (4, 4))
    one = model.encode_text(given["states"][:1, :4], None, (4, 4)).expand(3)
    same = model.encode_text(given["states"][:1, :4].expand(3, -1, -1), None, (4, 4))
    assert torch.equal(
        model(tokens, sigma, one, (4, 4)).tokens_BSP, model(tokens, sigma, same, (4, 4)).tokens_BSP
    )


def test_bfloat16_follows_float32():
    config = random_config()
    model, given = random_model(config), inputs(config)
    wanted = ours(model, given)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = ours(model, given)
    model.to(torch.bfloat16)
    low = {k: v.bfloat16() if k in ("tokens", "states") else v for k, v in given.items()}
    for found in (mixed, ours(model, low)):
        cosine = torch.nn.functional.cosine_similarity(found.float().flatten(), wanted.flatten(), 0)
        assert found.isfinite().all()
        assert cosine > 0.95  # a few tokens go to other experts


def test_deterministic_kernels_are_enough():
    model = random_model()
    given = inputs(model.config)
    found = []
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(2):
            model.zero_grad()
            (ours(model, given) * given["weights"]).sum().backward()
            found.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axes_dims_rope": (4, 4, 4)}, "sum to attention_head_dim 16"),
        ({"num_key_value_heads": 3}, "must divide num_attention_heads 4"),
        ({"capacity_factors": (0.0, 0.0)}, r"above 0 in blocks \[1\]"),
        ({"dense_moe_strategy": "some"}, "dense_moe_strategy"),
        ({"depth": 2}, "depth"),
    ],
)
def test_impossible_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        random_config(**change)


def test_no_weight_is_drawn_on_the_meta_device():
    with torch.device("meta"):
        model = NucleusTransformer(random_config())
    assert all(parameter.is_meta for parameter in model.parameters())
    assert list(model.buffers()) == []  # nothing that a file does not hold


@pytest.mark.slow
def test_every_module_imports_without_ray():
    """Where it is not installed; and the sampler and the trainer load neither library yet."""
    code = (
        "import pkgutil, sys; sys.modules['ray'] = None\n"
        "import nucleus_model.sampling.sample, nucleus_model.training.train\n"
        "bad = {m.split('.')[0] for m in sys.modules} & {'diffusers', 'transformers'}\n"
        "assert not bad, bad\n"
        "names = [m.name for m in pkgutil.iter_modules(nucleus_model.__path__)]\n"
        "for name in names: __import__('nucleus_model.' + name)\n"
        "assert sys.modules['ray'] is None; print(*names)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert {"transformer", "sample", "train", "exchange", "text", "vae"} <= {*done.stdout.split()}

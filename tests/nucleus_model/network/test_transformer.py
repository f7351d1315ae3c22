"""What the transformer does beyond diffusers' class: phases, refusals, precision."""

import pytest
import torch

from nucleus_model.network.transformer import NucleusTransformer
from tests.support.model import difference, inputs, ours, random_config, random_model, routed


def test_routing_is_of_each_block_with_experts_and_only_on_request():
    config = random_config(num_layers=3, capacity_factors=2.0)
    model, given = random_model(config), inputs(config)
    routing = routed(model, given)
    assert list(routing) == [1, 2]
    assert [tuple(found.chosen_BEC.shape) for found in routing.values()] == [(3, 8, 4)] * 2
    assert not torch.equal(routing[1].chosen_BEC, routing[2].chosen_BEC)
    text = model.encode_text(given["states"], None, given["grid"])
    assert model(given["tokens"], given["sigma"], text, given["grid"]).routing == {}


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
    with pytest.raises(ValueError, match=r"2 x 4 does not match 16 tokens"):
        model(tokens, sigma, text, (2, 4))
    with pytest.raises(
        ValueError, match=r"positions from 2, but there are 3 images, from 4; call encode_text"
    ):
        model(tokens, sigma, text, (2, 8))
    with pytest.raises(ValueError, match=r"for 3 images and .* there are 2"):
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


def test_no_weight_is_drawn_on_the_meta_device():
    with torch.device("meta"):
        model = NucleusTransformer(random_config())
    assert all(parameter.is_meta for parameter in model.parameters())
    assert list(model.buffers()) == []  # nothing that a file does not hold

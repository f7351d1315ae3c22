"""The transformer against diffusers' class with the same random weights, in float32.

The last part puts bugs in, those that ports of this model had, and shows that the same comparison
finds each of them. (What only a whole sampling run shows is in
`sampling/test_parity.py`.)
"""

import pytest
import torch

from nucleus_model.network import moe, rope
from nucleus_model.network.attention import Attention
from nucleus_model.network.moe import Experts, FeedForward, MoE
from nucleus_model.network.transformer import Block, NucleusTransformer
from tests.support.model import (
    TOLERANCE,
    difference,
    inputs,
    ours,
    published,
    random_config,
    random_model,
    theirs,
)
from tests.support.quick import quick


def gradients(model, given, output):
    """Of every parameter and both inputs, by name."""
    wanted = dict(model.named_parameters()) | {name: given[name] for name in ("tokens", "states")}
    loss = (output * given["weights"]).sum()
    found = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True)
    return dict(zip(wanted, found, strict=True))


def differences(model, given):
    """Of the output, and of every gradient that is there, by name."""
    reference = published(model)
    output, wanted = ours(model, given), theirs(reference, given)
    found, expected = gradients(model, given, output), gradients(reference, given, wanted)
    none = {name for name, gradient in expected.items() if gradient is None}
    assert {name for name, gradient in found.items() if gradient is None} == none
    compared = {
        name: difference(gradient, expected[name])
        for name, gradient in found.items()
        if gradient is not None
    }
    return {"output": difference(output, wanted)} | compared


CASES = {
    "as it is": {},
    "all blocks with experts": {"dense_moe_strategy": "all_moe"},
    "all blocks dense": {"dense_moe_strategy": "all_dense"},
    "experts off": {"moe_enabled": False},
    "last block dense": {
        "dense_moe_strategy": "leave_first_three_and_last_block_dense",
        "num_layers": 5,
        "capacity_factors": 2.0,
    },
    "one key head": {"num_key_value_heads": 1},
    "as many key heads as query heads": {"num_key_value_heads": 4},
    "sigmoid scores": {"use_sigmoid": True},
    "another patch": {"patch_size": 1, "in_channels": 9, "out_channels": 16},
    **{f"capacity {factor}": {"capacity_factors": factor} for factor in (0.1, 1.0, 1.3, 4.0, 8.0)},
}


@pytest.mark.parametrize("case", CASES)
def test_output_and_every_gradient(case):
    config = random_config(**CASES[case])
    # A token that has one expert gives the router no gradient: few tokens, so that they have more.
    given = inputs(config, (2, 2) if case == "capacity 0.1" else (3, 5))
    if case == "another patch":
        given["weights"] = given["weights"][..., :16]
    worst = differences(random_model(config), given)
    assert max(worst.values()) < TOLERANCE, worst


@pytest.mark.parametrize(
    "grid", quick([(4, 4), (2, 7), (7, 2), (1, 6), (5, 1), (16, 9)], [(2, 7), (5, 1)])
)
@pytest.mark.parametrize("lengths", [(8,), (3, 8)])
def test_grids_and_padding(grid, lengths):
    config = random_config()
    worst = differences(random_model(config), inputs(config, grid, lengths))
    assert max(worst.values()) < TOLERANCE, worst


@pytest.mark.parametrize("factor", [0.1, 1.0, 1.3, 2.0, 4.0, 8.0])
def test_experts_choose_the_same_tokens(factor, monkeypatch):
    config = random_config(dense_moe_strategy="all_moe", capacity_factors=factor)
    model, given = random_model(config), inputs(config)
    text = model.encode_text(given["states"], given["mask"], given["grid"])
    output = model(given["tokens"], given["sigma"], text, given["grid"], with_routing=True)
    topk, seen = torch.topk, []
    monkeypatch.setattr(
        torch, "topk", lambda *args, **rest: seen.append(topk(*args, **rest)) or seen[-1]
    )
    theirs(published(model), given)
    assert list(output.routing) == [0, 1]
    for routing, wanted in zip(output.routing.values(), seen, strict=True):
        assert torch.equal(routing.chosen_BEC.sort().values, wanted.indices.sort().values)


def test_names_and_order_are_the_published_ones():
    model = random_model()
    reference = published(model)
    assert list(model.state_dict()) == list(reference.state_dict())
    NucleusTransformer(model.config).load_state_dict(reference.state_dict(), strict=True)


def test_a_batch_is_as_its_items_alone():
    config = random_config(dense_moe_strategy="all_moe")
    model, given = random_model(config), inputs(config)
    together = ours(model, given)
    for row in range(3):
        alone = ours(model, given, slice(row, row + 1))
        assert difference(together[row : row + 1], alone) < TOLERANCE
        # nor on what stands where the padding is
        noisy = given | {"states": torch.where(given["mask"][..., None], given["states"], 99.0)}
        assert difference(ours(model, noisy, slice(row, row + 1)), alone) < TOLERANCE


def test_text_is_encoded_once_for_all_sigmas():
    config = random_config()
    model, given = random_model(config), inputs(config)
    reference = published(model)
    text = model.encode_text(given["states"], given["mask"], given["grid"])
    for sigma in (0.1, 0.9):
        at = given | {"sigma": torch.full((3,), sigma)}
        found = model(at["tokens"], at["sigma"], text, at["grid"]).tokens_BSP
        assert difference(found, theirs(reference, at)) < TOLERANCE


def swapped(width):
    return torch.arange(width).roll(width // 2)


def swap_experts(self, x, gates):
    halves = self.gate_up_proj[..., swapped(self.gate_up_proj.shape[2])]
    gate, up = torch.bmm(x, halves).chunk(2, dim=-1)
    return torch.bmm(torch.nn.functional.silu(gate) * up * gates[..., None], self.down_proj)


def swap_dense(self, x):
    gate, value = self.net["0"]["proj"](x).chunk(2, dim=-1)
    return self.net["2"](value * torch.nn.functional.silu(gate))


MOE, ATTENTION, MODEL = MoE.forward, Attention.forward, NucleusTransformer.forward
POSITIONS, TEXT = rope.image_positions, NucleusTransformer.encode_text
ROTATE = rope.rotate


def remembered(seen):
    """A cache that knows the prompts by their memory address, as diffusers' has it."""

    def encode(self, states, *rest):
        return seen.setdefault(states.data_ptr(), TEXT(self, states, *rest))

    return encode


def halves_rotated(x, rotations):
    """Pairs of a value of the first half with one of the second, as many models have it."""
    order = torch.arange(x.shape[-1]).view(2, -1).T.flatten()
    return ROTATE(x[..., order], rotations)[..., order.argsort()]


BUGS = {
    "SwiGLU halves of experts swapped": (Experts, "forward", swap_experts),
    "SwiGLU halves of dense layers swapped": (FeedForward, "forward", swap_dense),
    "router fed modulated tokens": (
        MoE,
        "forward",
        lambda self, x, plain, time, asked: MOE(self, x, x, time, asked),
    ),
    "experts fed unmodulated tokens": (
        MoE,
        "forward",
        lambda self, x, plain, time, asked: MOE(self, plain, plain, time, asked),
    ),
    "routed path skipped": (Experts, "forward", lambda self, x, gates: torch.zeros_like(x)),
    "output sign": (
        NucleusTransformer,
        "forward",
        lambda self, *args: MODEL(self, *args)._replace(tokens_BSP=-MODEL(self, *args).tokens_BSP),
    ),
    "rows and columns mixed up": (
        "nucleus_model.network.transformer",
        "image_positions",
        lambda height, width, device: POSITIONS(width, height, device),
    ),
    "positions not centred": (
        "nucleus_model.network.transformer",
        "image_positions",
        lambda height, width, device: POSITIONS(height, width, device) + 1,
    ),
    "rotary pairs of halves": ("nucleus_model.network.attention", "rotate", halves_rotated),
    "text positions from the larger side": (
        "nucleus_model.network.transformer",
        "text_positions",
        lambda height, width, *rest: rope.text_positions(2 * height, 2 * width, *rest),
    ),
    "padding not masked": (
        Attention,
        "forward",
        lambda self, x, rotations, text, mask: ATTENTION(self, x, rotations, text, None),
    ),
    "capacity by int": (
        moe,
        "capacity",
        lambda f, tokens, experts: max(1, int(f * tokens / experts)),
    ),
    "gates not clamped": ("nucleus_model.network.transformer", "_gate", torch.tanh),
}


def patched(monkeypatch, bug):
    owner, name, wrong = BUGS[bug]
    if isinstance(owner, str):
        monkeypatch.setattr(f"{owner}.{name}", wrong)
    else:
        monkeypatch.setattr(owner, name, wrong)


def loud():
    """A case in which every bug can show: gates beyond their limit, a capacity with a rest."""
    config = random_config(capacity_factors=1.3)
    model = random_model(config)
    with torch.no_grad():
        for block in model.blocks:
            block.img_mod[1].bias.mul_(4)
    return model, inputs(config)


def test_without_a_bug_the_loud_case_is_equal():
    worst = differences(*loud())
    assert max(worst.values()) < TOLERANCE, worst


@pytest.mark.parametrize("bug", BUGS)
def test_the_comparison_finds(bug, monkeypatch):
    model, given = loud()
    patched(monkeypatch, bug)
    output, wanted = ours(model, given), theirs(published(model), given)
    assert difference(output, wanted) > 100 * TOLERANCE


def test_a_bug_in_the_gradient_alone_is_found(monkeypatch):
    """The router learns by the gates only: cut there, the output stays the same."""
    model, given = loud()
    choose = MoE.choose
    monkeypatch.setattr(MoE, "choose", lambda self, logits: choose(self, logits.detach()))
    with pytest.raises(AssertionError):
        differences(model, given)


def test_a_text_cache_by_address_is_found(monkeypatch):
    """Two prompts in the same memory, one after the other."""
    model, given = loud()
    reference = published(model)
    monkeypatch.setattr(NucleusTransformer, "encode_text", remembered({}))
    with torch.no_grad():
        assert difference(ours(model, given), theirs(reference, given)) < TOLERANCE
        given["states"].mul_(-1)
        assert difference(ours(model, given), theirs(reference, given)) > 100 * TOLERANCE
        monkeypatch.setattr(NucleusTransformer, "encode_text", TEXT)
        assert difference(ours(model, given), theirs(reference, given)) < TOLERANCE


def test_left_padding_is_found():
    model, given = loud()
    right = ours(model, given)
    for row, length in enumerate(given["mask"].sum(dim=1)):
        given["states"].data[row] = given["states"].data[row].roll(9 - int(length), dims=0)
        given["mask"][row] = given["mask"][row].flip(0)
    assert difference(ours(model, given), right) > 100 * TOLERANCE


def test_block_is_the_unit_of_checkpointing():
    """Here, so that the largest case is measured: the same values, each block computed again."""
    config = random_config(dense_moe_strategy="all_moe")
    model, given = random_model(config), inputs(config)
    wanted = gradients(model, given, ours(model, given))
    model.gradient_checkpointing = True
    calls = []
    forward = Block.forward
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Block, "forward", lambda self, *a: calls.append(self) or forward(self, *a))
        found = gradients(model, given, ours(model, given))
    assert len(calls) == 2 * config.num_layers
    for name, gradient in wanted.items():
        assert gradient is None or torch.equal(gradient, found[name]), name

import copy
import gc

import pytest
import torch

from nucleus_model.network.memory import Spare, product
from tests.support.model import inputs, ours, random_config, random_model


def operands(seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, 5, 4, generator=generator).requires_grad_()
    weight = torch.nn.Parameter(torch.randn(3, 4, 6, generator=generator))
    return x, weight, torch.randn(3, 5, 6, generator=generator)


def step(x, weight, given, spare):
    x.grad = weight.grad = None
    (product(x, weight, spare) * given).sum().backward()
    return weight.grad


def test_values_and_gradients_are_those_of_bmm():
    x, weight, given = operands()
    wanted = torch.autograd.grad((torch.bmm(x, weight) * given).sum(), (x, weight))
    assert torch.equal(product(x, weight, Spare()), torch.bmm(x, weight))
    found = torch.autograd.grad((product(x, weight, Spare()) * given).sum(), (x, weight))
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))


def test_the_next_step_s_gradient_lies_where_the_last_one_was():
    x, weight, given = operands()
    spare = Spare()
    first = step(x, weight, given, spare).data_ptr()
    places = {step(x, weight, given, spare).data_ptr() for _ in range(3)}
    assert places == {first}
    assert sum(map(len, spare.free.values())) == 0
    weight.grad = None
    assert sum(map(len, spare.free.values())) == 1


@pytest.mark.parametrize("keep", [lambda g: g, lambda g: g[1], lambda g: g.numpy()])
def test_what_is_kept_stays_as_it_was(keep):
    """A gradient, a view of it or an array on it: its memory is nobody else's meanwhile."""
    x, weight, given = operands()
    spare = Spare()
    kept = keep(step(x, weight, given, spare))
    before = copy.deepcopy(kept)
    for factor in (2.0, 3.0):
        step(x, weight, given * factor, spare)
    assert (kept == before).all()
    del kept
    gc.collect()
    weight.grad = None
    assert sum(map(len, spare.free.values())) == 2


def test_gradients_of_two_steps_add_up():
    x, weight, given = operands()
    spare = Spare()
    once = step(x, weight, given, spare).clone()
    (product(x, weight, spare) * given).sum().backward()
    assert torch.equal(weight.grad, 2 * once)


def test_other_precisions_and_frozen_weights_are_plain_products():
    x, weight, given = operands()
    spare = Spare()
    with torch.autocast("cpu", torch.bfloat16):
        assert product(x, weight, spare).dtype == torch.bfloat16
    assert product(x.double(), weight.double(), spare).dtype == torch.float64
    weight.requires_grad_(False)
    (product(x, weight, spare) * given).sum().backward()
    assert x.grad is not None
    weight.requires_grad_(True)
    (product(x.detach(), weight, spare) * given).sum().backward()
    assert weight.grad is not None


def test_a_training_step_touches_no_fresh_memory_for_experts():
    """All of the model's stacked gradients, with the blocks computed again too."""
    model = random_model(random_config(dense_moe_strategy="all_moe"))
    model.gradient_checkpointing = True
    given = inputs(model.config)
    seen = []
    for _ in range(3):
        model.zero_grad(set_to_none=True)
        (ours(model, given) * given["weights"]).sum().backward()
        stacked = [block.img_mlp.experts for block in model.blocks]
        seen.append([p.grad.data_ptr() for experts in stacked for p in experts.parameters()])
    assert seen[0] == seen[1] == seen[2]
    assert len(set(seen[0])) == 4
    other = copy.deepcopy(model)
    assert other.blocks[0].img_mlp.experts.spare is not model.blocks[0].img_mlp.experts.spare

import pytest
import torch

from nucleus_model.network.moe import Routing, capacity
from tests.support.model import inputs, random_model, routed


def test_statistics_are_those_counted_by_hand():
    chosen = torch.tensor([[[0, 1], [1, 2], [1, 3]], [[0, 1], [0, 1], [0, 1]]])
    routing = Routing(chosen, tokens=5, z_loss=torch.tensor(0.0))
    assert routing.load().tolist() == [[1, 3, 1, 1, 0], [3, 3, 0, 0, 0]]
    found = routing.statistics()
    assert found == pytest.approx({"uncovered": 0.4, "single": 0.3, "coverage": 0.6, "max_load": 3})


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

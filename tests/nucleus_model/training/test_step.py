import copy

import pytest
import torch

from nucleus_model.network.distributed import World
from nucleus_model.network.flow import draw_noise
from nucleus_model.settings.settings import QuickTrainSettings
from nucleus_model.training.guards import Guard
from nucleus_model.training.optimizer import build_optimizers
from nucleus_model.training.step import LocalBatch, Stepper
from tests.support.model import awake_model
from tests.support.quick import quick


class FixedText:
    """Text states that depend on the prompt, of different lengths."""

    def encode(self, prompts):
        states = torch.stack([draw_noise(0, prompt, (8, 32)) for prompt in prompts])
        mask = torch.arange(8)[None] < torch.tensor([4 + len(p) for p in prompts])[:, None]
        return states * mask[..., None], mask


def taken(pieces=1, model=None, total=5, rate=1e-3, step=1, optimizers=None, **values):
    values = {"router_every": 1, **values}
    settings = QuickTrainSettings.model_validate(values)
    model = model or awake_model().train()
    model.gradient_checkpointing = settings.gradient_checkpointing
    optimizers = optimizers or build_optimizers(model, "muon", lr=1.0, weight_decay=0.1)
    stepper = Stepper(model, optimizers, FixedText(), settings, World(), Guard(settings))
    ids = [f"id{number}" for number in range(5)]
    batch = LocalBatch(
        draws=["1"] * len(ids),
        latents_BCHW=torch.stack([draw_noise(1, ident, (12, 4, 8)) for ident in ids]),
        ids=ids,
        captions=["", "a", "bb", "ccc", "dddd"],
        total=total,
        pieces=pieces,
        with_routing=True,
    )
    return stepper.take(step, rate, settings.plan()[0], batch), model


def gradients(model):
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def assert_close(one, other, tolerance):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert (value - other[name]).abs().max() <= tolerance * value.abs().max() + 1e-9, name


@pytest.mark.parametrize(
    "values", quick([{}, {"router_z_loss": 0.1}, {"gradient_checkpointing": True}], 1)
)
def test_pieces_add_up_to_the_whole_batch(values):
    whole, one = taken(clip=1e9, **values)
    for pieces in (2, 5):
        part, other = taken(pieces, clip=1e9, **values)
        assert part.loss == pytest.approx(whole.loss, rel=1e-6)
        assert part.grad_norm == pytest.approx(whole.grad_norm, rel=1e-5)
        assert_close(gradients(one), gradients(other), 1e-4)
        # A modulation's gradient has the rank of the batch, 5; the other directions are rounding
        # (1e-8 of it), which Muon makes as long as the others.
        weights = [
            {name: value for name, value in model.state_dict().items() if "_mod." not in name}
            for model in (one, other)
        ]
        assert_close(*weights, 1e-4)


def test_a_piece_without_samples_adds_nothing():
    whole, one = taken(5, clip=1e9)
    more, other = taken(8, clip=1e9)  # three of the eight are empty
    assert more.loss == pytest.approx(whole.loss, rel=1e-6)
    assert_close(gradients(one), gradients(other), 1e-5)


def test_computing_blocks_again_changes_nothing():
    _, one = taken()
    _, other = taken(gradient_checkpointing=True)
    assert_close(gradients(one), gradients(other), 1e-6)


def test_bf16_is_close_and_weights_stay_float32():
    exact, _ = taken(clip=1e9)
    found, other = taken(clip=1e9, precision="bf16")
    assert found.loss != exact.loss
    assert found.loss == pytest.approx(exact.loss, rel=0.02)
    kinds = {t.dtype for p in other.parameters() for t in (p, p.grad) if t is not None}
    assert kinds == {torch.float32}
    assert found.grad_norm == pytest.approx(exact.grad_norm, rel=0.1)


def test_the_z_loss_is_told_and_pulls_at_the_router_alone_through_it():
    plain, _ = taken()
    weighted, model = taken(router_z_loss=10.0, clip=1e9)
    assert plain.z_loss is None
    assert weighted.z_loss > 0
    assert weighted.loss == plain.loss  # the loss that is told is the flow's
    _, other = taken(clip=1e9)
    gate = "transformer_blocks.1.img_mlp.gate.weight"
    ratio = gradients(model)[gate].norm() / gradients(other)[gate].norm()
    assert ratio > 2


def test_routers_are_described():
    found, _ = taken()
    assert found.routing.keys() == {1}
    assert found.routing[1].keys() == {"uncovered", "single", "coverage", "max_load"}


def test_the_gradient_is_clipped_to_its_norm():
    taken_once, model = taken(clip=0.5)
    assert taken_once.grad_norm > 0.5
    norm = torch.nn.utils.get_total_norm(gradients(model).values())
    assert norm.item() == pytest.approx(0.5, rel=1e-4)


def test_a_step_that_is_odd_leaves_weights_and_optimizer_as_they_were():
    model = awake_model().train()
    optimizers = build_optimizers(model, "muon", lr=1.0, weight_decay=0.1)
    taken(model=model, optimizers=optimizers)
    weights = copy.deepcopy(model.state_dict())
    states = copy.deepcopy([optimizer.state_dict() for optimizer in optimizers])
    with torch.no_grad():
        model.proj_out.weight.mul_(torch.inf)
    found, _ = taken(model=model, optimizers=optimizers)
    assert found.skipped == "loss"
    after = {**model.state_dict(), "proj_out.weight": weights["proj_out.weight"]}
    assert all(torch.equal(after[name], value) for name, value in weights.items())
    for before, optimizer in zip(states, optimizers, strict=True):
        for number, state in optimizer.state_dict()["state"].items():
            for key, value in state.items():
                assert torch.equal(value, before["state"][number][key])


def test_a_phase_s_mu_or_the_tokens_decide_the_sigmas(monkeypatch):
    seen = []
    import nucleus_model.training.step as module

    real = module.draw_sigma
    monkeypatch.setattr(
        module, "draw_sigma", lambda *a, mu, **k: seen.append(mu) or real(*a, mu=mu, **k)
    )
    taken()
    taken(timestep_mu=-1.0)
    assert seen == [0.5] * 5 + [-1.0] * 5

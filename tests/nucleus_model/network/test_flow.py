import numpy as np
import pytest
import torch

from nucleus_model.encoders.text import pad_right
from nucleus_model.network.flow import draw_noise, draw_sigma, flow_loss, pack, unpack, velocity
from nucleus_model.network.transformer import Output
from tests.support.model import awake_model


class Oracle:
    """Knows the data: answers data minus noise exactly."""

    config = awake_model().config

    def __init__(self, data):
        self.data = data

    def __call__(self, tokens, sigma_B, text, grid, with_routing=False):
        sigma = sigma_B[:, None, None]
        noise = (tokens - (1 - sigma) * pack(self.data, 2)) / sigma
        return Output(pack(self.data, 2) - noise, {})


def states(batch=2, length=8, width=32):
    generator = torch.Generator().manual_seed(5)
    return torch.randn(batch, length, width, generator=generator)


def test_the_output_is_data_minus_noise():
    data, noise = draw_noise(0, "data", (2, 12, 4, 6)), draw_noise(0, "noise", (2, 12, 4, 6))
    loss = flow_loss(Oracle(data), data, noise, torch.tensor([0.3, 0.8]), None)
    assert loss.tolist() == pytest.approx([0, 0], abs=1e-9)


def test_packing_is_the_published_one_on_a_grid_that_is_not_square(diffusers):
    latents = torch.arange(2 * 3 * 4 * 6).reshape(2, 3, 4, 6).float()
    reference = diffusers.NucleusMoEImagePipeline._pack_latents(latents, 2, 3, 4, 6, 2)
    assert torch.equal(pack(latents, 2), reference)
    assert torch.equal(unpack(reference, 4, 6, 2), latents)
    # the token right of the first one starts two columns on; a token's values go channel by channel
    assert pack(latents, 2)[0, 1, :4].tolist() == [2, 3, 8, 9]


def test_a_model_that_answers_zero_has_the_variance_of_the_target():
    class Zero(Oracle):
        def __call__(self, tokens, *_):
            return Output(torch.zeros_like(tokens), {})

    data, noise = torch.full((1, 12, 8, 8), 2.0), draw_noise(0, "noise", (1, 12, 8, 8))
    loss = flow_loss(Zero(data), data, noise, torch.tensor([0.5]), None)
    assert loss.item() == pytest.approx((noise - data).square().mean().item())


def test_padding_on_the_right_changes_nothing():
    model = awake_model()
    noisy = draw_noise(0, "noisy", (2, 12, 6, 4))
    sigma = torch.tensor([0.3, 0.8])
    short, long = states(1, 16)[0, :5], states(2, 16)[1]

    def answer(items, *texts):
        text = model.encode_text(*pad_right(texts), (3, 2))
        return velocity(model, noisy[:items], sigma[:items], text)

    both = answer(2, short, long)
    alone = velocity(model, noisy[:1], sigma[:1], model.encode_text(short[None], None, (3, 2)))
    assert (both[:1] - alone).abs().max() < 1e-5 * alone.abs().max()
    assert (answer(1, long) - alone).abs().max() > 1e-3  # the text does reach the output


def test_rows_and_columns_are_not_mixed_up():
    model = awake_model()
    noisy = draw_noise(0, "noisy", (1, 12, 4, 8))
    sigma = torch.tensor([0.5])
    wide = velocity(model, noisy, sigma, model.encode_text(states(1), None, (2, 4)))
    # The same tokens laid out as another grid must give another answer.
    other = unpack(pack(noisy, 2), 8, 4, 2)
    tall = velocity(model, other, sigma, model.encode_text(states(1), None, (4, 2)))
    assert wide.shape == (1, 12, 4, 8)
    assert (pack(wide, 2) - pack(tall, 2)).abs().max() > 1e-3


def test_sigmas_are_logit_normal_with_a_uniform_share():
    draws = [draw_sigma(0, str(i), mu=0.5, std=1.0, uniform_share=0.0) for i in range(4000)]
    logits = np.log(draws) - np.log1p(-np.array(draws))
    assert logits.mean() == pytest.approx(0.5, abs=0.06)
    assert logits.std() == pytest.approx(1.0, abs=0.06)
    uniform = [draw_sigma(0, str(i), mu=0.5, std=1.0, uniform_share=1.0) for i in range(4000)]
    assert np.histogram(uniform, bins=4, range=(0, 1))[0].tolist() == pytest.approx(
        [1000] * 4, rel=0.1
    )


def test_draws_depend_on_their_key_alone():
    assert torch.equal(draw_noise(0, "a", (3,)), draw_noise(0, "a", (3,)))
    assert not torch.equal(draw_noise(0, "a", (3,)), draw_noise(0, "b", (3,)))
    assert not torch.equal(draw_noise(0, "a", (3,)), draw_noise(1, "a", (3,)))

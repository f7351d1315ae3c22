import numpy as np
import pytest
import torch

from nucleus_data.sets.buckets import SIZES_1024, bucket_size
from nucleus_model.encoders.codec import SpaceToDepth
from nucleus_model.encoders.text import pad_right
from nucleus_model.network.flow import draw_noise, pack
from nucleus_model.network.transformer import Output
from nucleus_model.sampling.sample import (
    encode_prompts,
    guide,
    sample_grid,
    sample_images,
    sample_latents,
)
from nucleus_model.sampling.solver import SOLVERS
from tests.support.model import awake_model, random_config, random_model
from tests.support.quick import quick


class Words:
    """A text encoder without a model: states drawn from the prompt."""

    def states(self, prompt):
        return draw_noise(0, prompt, (3 + len(prompt) % 7, 32))

    def encode(self, prompts):
        return pad_right([self.states(prompt) for prompt in prompts])


class Oracle:
    """Knows the image; its answer is data minus noise."""

    config = awake_model().config

    def __init__(self, data):
        self.data = pack(data, 2)

    def __call__(self, tokens, sigma_B, text, grid):
        sigma = sigma_B[:, None, None]
        noise = (tokens - (1 - sigma) * self.data) / sigma
        return Output(self.data - noise, {})


@pytest.mark.parametrize("solver", SOLVERS)
def test_with_a_perfect_model_the_sampler_ends_at_the_image(solver):
    data, noise = draw_noise(0, "data", (2, 12, 4, 8)), draw_noise(0, "noise", (2, 12, 4, 8))
    text = encode_prompts(awake_model(), Words(), ["a", "b"], (2, 4))
    found = sample_latents(Oracle(data), noise, text, text, steps=5, guidance=4.0, solver=solver)
    assert (found - data).abs().max() < 1e-4


def test_guidance_keeps_each_tokens_length():
    text, empty = draw_noise(0, "text", (2, 6, 48)), draw_noise(0, "empty", (2, 6, 48))
    guided = guide(text, empty, 8.0)
    assert torch.allclose(guided.norm(dim=-1), text.norm(dim=-1), rtol=1e-5)
    direction = torch.nn.functional.cosine_similarity(guided, empty + 8 * (text - empty), dim=-1)
    assert torch.allclose(direction, torch.ones_like(direction), atol=1e-5)
    assert not guide(torch.zeros(1, 2, 4), torch.zeros(1, 2, 4), 4.0).any()


def test_the_grid_has_a_row_a_prompt_and_a_column_a_seed():
    model, codec = awake_model(latent_channels=48), SpaceToDepth(4)
    prompts, seeds = ["a red square", "blüe <b>"], [0, 7, 8]
    sizes = {"width": 48, "height": 32, "steps": 2}
    images = sample_grid(model, Words(), codec, prompts, seeds, **sizes)
    assert images.shape == (2, 3, 32, 48, 3)
    again = sample_grid(model, Words(), codec, prompts[1:], seeds[1:2], **sizes)
    assert np.abs(again[0, 0].astype(int) - images[1, 1].astype(int)).max() <= 1
    assert (images[0, 0] != images[0, 1]).any()


def test_images_do_not_depend_on_their_batch():
    model, codec = awake_model(latent_channels=48), SpaceToDepth(4)
    prompts, seeds = ["a red square", "blue", "a red square"], [0, 1, 2]
    sizes = {"width": 48, "height": 32, "steps": 3}
    images = sample_images(model, Words(), codec, prompts, seeds, **sizes)
    assert (images.shape, images.dtype) == ((3, 32, 48, 3), np.uint8)
    for size in (1, 2):
        other = sample_images(model, Words(), codec, prompts, seeds, batch_size=size, **sizes)
        assert np.abs(other.astype(int) - images).max() <= 1
    turned = sample_images(model, Words(), codec, prompts[::-1], seeds[::-1], **sizes)
    assert np.abs(turned[::-1].astype(int) - images).max() <= 1
    assert (images[0] != images[2]).any()
    grid = sample_grid(model, Words(), codec, ["a red square"], [0, 2], **sizes)
    assert np.abs(grid[0].astype(int) - images[[0, 2]]).max() <= 1


def test_a_negative_prompt_leads_away_from_itself():
    model, codec = awake_model(latent_channels=48), SpaceToDepth(4)
    sizes = {"width": 32, "height": 32, "steps": 3}

    def image(prompt, **options):
        return sample_images(model, Words(), codec, [prompt], [0], **sizes, **options)

    assert (image("a", negative="b") != image("a")).any()
    assert (image("a", negative=["b"]) == image("a", negative="b")).all()
    # Away from itself is nowhere: no guidance at all.
    assert np.abs(image("a", negative="a").astype(int) - image("a", guidance=1.0)).max() <= 1
    with pytest.raises(ValueError, match="the same number of seeds"):
        sample_images(model, Words(), codec, ["a"], [0, 1], **sizes)
    with pytest.raises(ValueError, match="multiples of 8"):
        sample_images(model, Words(), codec, ["a"], [0], width=36, height=32)
    with pytest.raises(ValueError, match="needs a negative prompt"):
        sample_latents(model, torch.zeros(1, 48, 8, 8), None, None, steps=1, guidance=4.0)


@pytest.mark.parametrize("resolution", quick([256, 512, 1024], 1))
@pytest.mark.parametrize("aspect", SIZES_1024)
def test_every_aspect_ratio_at_its_real_size(aspect, resolution):
    """On as many tokens as with the published VAE: latents of 1/8, patches of 2."""
    width, height = bucket_size(resolution, aspect, 16)
    wanted = 1024 / resolution * width, 1024 / resolution * height
    assert wanted == pytest.approx(SIZES_1024[aspect], rel=0.04)
    if resolution == 1024 and aspect not in ("1x1", "16x9"):
        return  # as many tokens as these two
    model = random_model(random_config(capacity_factors=2.0))
    grid = (height // 16, width // 16)
    text = encode_prompts(model, Words(), ["a"], grid)
    noise = draw_noise(0, "sample", (1, 4, height // 8, width // 8))
    found = sample_latents(model, noise, text, None, steps=1, guidance=1.0)
    assert found.shape == noise.shape
    assert found.isfinite().all()
    assert (found - noise).std() > 0.1


def test_text_is_encoded_once_a_prompt(monkeypatch):
    model, codec = awake_model(latent_channels=48), SpaceToDepth(4)
    seen = []
    encode = model.encode_text
    monkeypatch.setattr(
        model,
        "encode_text",
        lambda states, *rest: seen.append(len(states)) or encode(states, *rest),
    )
    prompts = ["a red square", "blue"]
    sizes = {"width": 32, "height": 32, "steps": 5}
    sample_grid(model, Words(), codec, prompts, [0, 1, 2], **sizes)
    assert seen == [2, 1]  # the prompts, then the empty one, whatever the steps and seeds

import json

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, NucleusMoEImagePipeline
from PIL import Image

from nucleus_model.codec import SpaceToDepth
from nucleus_model.flow import draw_noise, pack
from nucleus_model.sample import guide, sample_grid, sample_latents, tile, write_grid
from nucleus_model.text import pad_right
from tests.model_support import awake_model


class Words:
    """A text encoder without a model: states drawn from the prompt."""

    def states(self, prompt):
        return draw_noise(0, prompt, (3 + len(prompt) % 7, 32))

    def encode(self, prompts):
        return pad_right([self.states(prompt) for prompt in prompts])


class Oracle:
    """Knows the image; its answer is data minus noise."""

    config = {"patch_size": 2}  # noqa: RUF012
    is_cache_enabled = False

    def __init__(self, data):
        self.data = pack(data, 2)

    def __call__(self, hidden_states, timestep, **_):
        sigma = timestep[:, None, None]
        return (self.data - (hidden_states - (1 - sigma) * self.data) / sigma,)


def test_with_a_perfect_model_the_sampler_ends_at_the_image():
    data, noise = draw_noise(0, "data", (2, 12, 4, 8)), draw_noise(0, "noise", (2, 12, 4, 8))
    found = sample_latents(Oracle(data), Words(), ["a", "b"], noise, steps=5, guidance=4.0)
    assert (found - data).abs().max() < 1e-4


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_the_sampler_is_the_published_pipeline(guidance):
    model, words = awake_model(), Words()
    noise = draw_noise(0, "noise", (2, 12, 4, 6))
    prompts = ["a red square", "blue"]
    pipe = NucleusMoEImagePipeline(
        transformer=model,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
        vae=None,
        text_encoder=None,
        processor=None,
    )
    pipe.set_progress_bar_config(disable=True)
    text, mask = words.encode(prompts)
    empty, empty_mask = words.encode(["", ""])
    reference = pipe(
        prompt_embeds=text,
        prompt_embeds_mask=mask,
        negative_prompt_embeds=empty,
        negative_prompt_embeds_mask=empty_mask,
        guidance_scale=guidance,
        height=4 * 8,
        width=6 * 8,
        num_inference_steps=6,
        latents=pack(noise, 2),
        output_type="latent",
    ).images
    found = sample_latents(model, words, prompts, noise, steps=6, guidance=guidance)
    assert (pack(found, 2) - reference).abs().max() < 1e-4
    assert (found - noise).abs().max() > 0.1


def test_guidance_keeps_each_tokens_length():
    text, empty = draw_noise(0, "text", (2, 6, 48)), draw_noise(0, "empty", (2, 6, 48))
    guided = guide(text, empty, 8.0)
    assert torch.allclose(guided.norm(dim=-1), text.norm(dim=-1), rtol=1e-5)
    direction = torch.nn.functional.cosine_similarity(guided, empty + 8 * (text - empty), dim=-1)
    assert torch.allclose(direction, torch.ones_like(direction), atol=1e-5)
    assert not guide(torch.zeros(1, 2, 4), torch.zeros(1, 2, 4), 4.0).any()


def test_the_grid_has_a_row_a_prompt_and_a_column_a_seed(tmp_path):
    model, codec = awake_model(latent_channels=48), SpaceToDepth(4)
    prompts, seeds = ["a red square", "blüe <b>"], [0, 7, 8]
    sizes = {"width": 48, "height": 32, "steps": 2}
    images = sample_grid(model, Words(), codec, prompts, seeds, **sizes)
    assert images.shape == (2, 3, 32, 48, 3)
    again = sample_grid(model, Words(), codec, prompts[1:], seeds[1:2], **sizes)
    assert np.abs(again[0, 0].astype(int) - images[1, 1].astype(int)).max() <= 1
    assert (images[0, 0] != images[0, 1]).any()
    write_grid(tmp_path, images, prompts, seeds, steps=2, guidance=4.0)
    with Image.open(tmp_path / "samples.png") as picture:
        assert picture.size == (3 * 50 + 2, 2 * 34 + 2)
        cell = np.asarray(picture)[2 + 34 : 2 + 34 + 32, 2 + 2 * 50 : 2 + 2 * 50 + 48]
    assert (cell == images[1, 2]).all()
    record = json.loads((tmp_path / "samples.json").read_text(encoding="utf-8"))
    assert record["rows"] == prompts
    assert record["columns"] == seeds
    assert (record["cell_width"], record["cell_height"], record["padding"]) == (48, 32, 2)
    assert record["guidance"] == 4.0


def test_cells_have_a_border():
    canvas = tile(np.zeros((1, 2, 4, 6, 3), np.uint8))
    assert canvas.shape == (8, 18, 3)
    assert (canvas[:2] == 255).all()
    assert (canvas[2:6, 8:10] == 255).all()
    assert not canvas[2:6, 2:8].any()

"""A whole sampling run against `NucleusMoEImagePipeline`: prompts to pixels, on the same noise.

Both run on one saved folder. Then the bugs that only a whole run shows are put in, one at a time.
"""

import numpy as np
import pytest
import torch

from nucleus_model.checkpoints.exchange import load_transformer, pipeline_text, save_pipeline
from nucleus_model.checkpoints.saved import load_saved
from nucleus_model.encoders import text
from nucleus_model.encoders.text import TextEncoder
from nucleus_model.encoders.vae import VaeCodec
from nucleus_model.network import flow
from nucleus_model.network.flow import draw_noise, pack
from nucleus_model.sampling import sample, solver
from nucleus_model.sampling.sample import encode_prompts, sample_latents
from tests.support.model import random_model, write_qwen, write_vae
from tests.support.quick import quick

PROMPTS = ["a red square", "blue", "a small green circle left of a large black star"]
NEGATIVE = ["", "blurry", "text"]
GRID = (4, 6)  # of tokens; 64 x 96 pixels
STEPS = 5
GUIDANCE = 6.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("run")
    qwen, vae = write_qwen(place / "qwen", 9, processor=True), write_vae(place / "vae")
    published = pipeline_text(place).model_copy(update={"model": str(qwen)})
    save_pipeline(place / "p", random_model(), published, str(vae))
    return place / "p"


@pytest.fixture(scope="module")
def wanted(diffusers, folder):
    """The pipeline's own latents and pixels."""
    pipe = diffusers.NucleusMoEImagePipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    options = {
        "prompt": PROMPTS,
        "negative_prompt": NEGATIVE,
        "guidance_scale": GUIDANCE,
        "height": 16 * GRID[0],
        "width": 16 * GRID[1],
        "num_inference_steps": STEPS,
        "latents": pack(noise(), 2),
    }
    latents = pipe(**options, output_type="latent").images
    return latents, pipe(**options, output_type="np").images


def noise():
    return draw_noise(0, "run", (3, 4, 2 * GRID[0], 2 * GRID[1]))


def run(folder, guidance=GUIDANCE, **changes):
    """Our run: packed latents and the codec."""
    settings = pipeline_text(folder).model_copy(update=changes)
    model, encoder = load_transformer(folder), TextEncoder(settings)
    given = encode_prompts(model, encoder, PROMPTS, GRID)
    negative = encode_prompts(model, encoder, NEGATIVE, GRID)
    return sample_latents(model, noise(), given, negative, steps=STEPS, guidance=guidance)


@pytest.mark.slow
def test_the_run_is_the_pipeline_s(folder, wanted):
    latents = run(folder)
    assert (flow.pack(latents, 2) - wanted[0]).abs().max() < 1e-4
    assert (latents - noise()).abs().max() > 0.5
    pixels = VaeCodec(str(folder / "vae")).decode(latents).numpy()
    assert pixels.shape == (3, 64, 96, 3)
    assert np.abs(pixels - 255 * wanted[1]).max() <= 1


def packed_by_pixel(latents, patch):
    batch, channels, height, width = latents.shape
    grid = latents.reshape(batch, channels, height // patch, patch, width // patch, patch)
    return grid.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, channels * patch**2)


def unpacked_by_pixel(tokens, height, width, patch):
    batch, _, values = tokens.shape
    grid = tokens.reshape(batch, height // patch, width // patch, patch, patch, values // patch**2)
    return grid.permute(0, 5, 1, 3, 2, 4).reshape(batch, -1, height, width)


def padded_left(states):
    padded, mask = PAD(states)
    gaps = (~mask).sum(dim=1)
    rows = [row.roll(int(gap), dims=0) for row, gap in zip(padded, gaps, strict=True)]
    return torch.stack(rows), mask.flip(1)


def shifted(steps):
    """The resolution's shift, exponential, as schedulers of other models have it."""
    sigmas, shift = SIGMAS(steps), np.exp(0.5)
    return [shift / (shift + 1 / s - 1) if s else 0.0 for s in sigmas]


PAD, SIGMAS, VELOCITY, TEMPLATE = (
    text.pad_right,
    solver.sigmas,
    sample.velocity,
    TextEncoder.template,
)
STALE = {}
BUGS = {
    "output sign": (sample, "velocity", lambda *args: -VELOCITY(*args)),
    "packing order": (flow, "pack", packed_by_pixel, flow, "unpack", unpacked_by_pixel),
    "left padding": (text, "pad_right", padded_left),
    "dynamic shift": (solver, "sigmas", shifted),
    "sigmas end at the wrong place": (
        solver,
        "sigmas",
        lambda steps: [*SIGMAS(steps)[:-1], 1e-2],
    ),
    "guidance not rescaled": (sample, "guide", lambda v, empty, scale: empty + scale * (v - empty)),
    "template without its end": (
        TextEncoder,
        "template",
        lambda self, prompt: TEMPLATE(self, prompt).removesuffix("<|im_start|>assistant\n"),
    ),
    "template without a template": (TextEncoder, "template", lambda _, prompt: prompt + "."),
    "stale text cache": (
        sample,
        "velocity",
        lambda model, x, sigma, kv: VELOCITY(model, x, sigma, STALE.setdefault(id(model), kv)),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("bug", quick(BUGS, 2))
def test_the_run_finds(bug, folder, wanted, monkeypatch):
    STALE.clear()
    patches = BUGS[bug]
    for start in range(0, len(patches), 3):
        monkeypatch.setattr(*patches[start : start + 3])
    assert (pack(run(folder), 2) - wanted[0]).abs().max() > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes", [{"hidden_state": -7}, {"hidden_state": -1}, {"system_prompt": "Draw."}]
)
def test_the_run_finds_another_text(changes, folder, wanted):
    assert (pack(run(folder, **changes), 2) - wanted[0]).abs().max() > 1e-2


@pytest.mark.slow
def test_the_run_finds_another_guidance(folder, wanted):
    assert (pack(run(folder, guidance=5.5), 2) - wanted[0]).abs().max() > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("state", quick([-3, 0, -9, 9], {-3}))
def test_other_text_settings_reach_the_pipeline(diffusers, state, folder, tmp_path):
    """What `save_pipeline` returns makes the pipeline paint what we paint.

    Its tower has nine layers: the pipeline refuses 9 and -9, and takes 0 for none given.
    """
    settings = pipeline_text(folder).model_copy(
        update={"hidden_state": state, "system_prompt": "Draw."}
    )
    model = load_transformer(folder)
    arguments = save_pipeline(tmp_path / "p", model, settings, str(folder / "vae"))
    pipe = diffusers.NucleusMoEImagePipeline.from_pretrained(tmp_path / "p")
    pipe.set_progress_bar_config(disable=True)
    found = pipe(
        PROMPTS,
        negative_prompt=NEGATIVE,
        guidance_scale=GUIDANCE,
        height=16 * GRID[0],
        width=16 * GRID[1],
        num_inference_steps=STEPS,
        latents=pack(noise(), 2),
        output_type="latent",
        **arguments,
    ).images
    ours = run(folder, hidden_state=state, system_prompt="Draw.")
    assert (pack(ours, 2) - found).abs().max() < 1e-4
    again = load_saved(tmp_path / "p").text
    own = TextEncoder(settings.model_copy(update={"model": str(folder / "text_encoder")}))
    assert torch.equal(again.states("a red square"), own.states("a red square"))

"""A checkpoint of the quick-train, exported, drawn by diffusers and by us: the same pictures."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from nucleus_data.commands import cli
from nucleus_data.commands.sample import PRECISIONS as OFFERED
from nucleus_model.checkpoints.checkpoint import save_checkpoint
from nucleus_model.checkpoints.export import PRECISIONS
from nucleus_model.network.flow import draw_noise, pack
from nucleus_model.settings.settings import QuickTrainSettings, TextSettings
from tests.support.model import awake_model, same_weights, write_qwen, write_vae

SEED, SIDE = 5, 64


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's checkpoint with a VAE, and one without."""
    place = tmp_path_factory.mktemp("run")
    qwen, vae = write_qwen(place / "qwen", 4, processor=True), write_vae(place / "vae")
    text = TextSettings(model=str(qwen), system_prompt="Draw.", max_tokens=128)
    settings = QuickTrainSettings(preset="debug", codec="vae", vae=str(vae), text=text)
    record = {"settings": settings.model_dump(mode="json"), "resolution": SIDE}
    model = awake_model(latent_channels=4)
    save_checkpoint(place / "with", model, record)
    record["settings"]["codec"] = "space_to_depth"
    save_checkpoint(place / "without", awake_model(latent_channels=48), record)
    return place, model


def nucleus(*arguments):
    return CliRunner().invoke(cli, [*map(str, arguments)])


def test_what_is_exported_draws_the_same(diffusers, run, tmp_path):
    place, model = run
    done = nucleus("export-model", place / "with", tmp_path / "p")
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == str(tmp_path / "p")
    assert "return_index=1, max_sequence_length=128" in done.output
    pipe = diffusers.NucleusMoEImagePipeline.from_pretrained(tmp_path / "p")
    pipe.set_progress_bar_config(disable=True)
    assert same_weights(pipe.transformer, model)
    notes = json.loads((tmp_path / "p/nucleus.json").read_text())
    latents = draw_noise(SEED, "sample", (1, 4, SIDE // 8, SIDE // 8))[None, 0]
    theirs = pipe(
        "a red square",
        height=SIDE,
        width=SIDE,
        num_inference_steps=4,
        latents=pack(latents, 2),
        output_type="np",
        **notes["call"],
    ).images[0]
    options = ("a red square", f"--seed={SEED}", "--steps=4", "--out")
    for folder in (place / "with", tmp_path / "p"):  # the size is the one that was trained
        done = nucleus("sample", folder, *options, tmp_path / "drawn")
        assert done.exit_code == 0, done.output
        ours = np.asarray(Image.open(tmp_path / f"drawn/0000-{SEED}.png"))
        assert np.abs(ours - 255 * theirs).max() <= 1
    assert theirs.std() > 0.05


def test_the_transformer_alone_in_half_the_bytes(diffusers, run, tmp_path):
    options = ("--transformer-only", "--precision=bfloat16", "--shard-gb=0.0001")
    done = nucleus("export-model", run[0] / "without", tmp_path / "t", *options)
    assert done.exit_code == 0, done.output
    assert len(list((tmp_path / "t").glob("*.safetensors"))) > 1
    loaded = diffusers.NucleusMoEImageTransformer2DModel.from_pretrained(
        tmp_path / "t", torch_dtype=torch.bfloat16
    )
    wanted = awake_model(latent_channels=48).to(torch.bfloat16)
    assert same_weights(loaded, wanted)


def test_a_pipeline_in_half_the_bytes_is_drawn_too(run, tmp_path):
    options = ("red", "--steps=2", f"--seed={SEED}", "--guidance=2")
    pictures = []
    for precision in PRECISIONS:
        place = tmp_path / precision
        nucleus("export-model", run[0] / "with", place, f"--precision={precision}")
        done = nucleus("sample", place, *options, f"--out={place}/drawn")
        assert done.exit_code == 0, done.output
        pictures.append(np.asarray(Image.open(place / f"drawn/0000-{SEED}.png")).astype(int))
    assert 0 < np.abs(pictures[0] - pictures[1]).mean() < 20


def test_what_cannot_be_exported_is_refused(run, tmp_path):
    for arguments, message in [
        ((run[0] / "without", tmp_path / "p"), "train with quick_train.codec=vae, or export"),
        ((tmp_path, tmp_path / "p"), "has no checkpoint.json"),
        ((run[0] / "with", run[0]), "is not empty; give a new folder"),
    ]:
        done = nucleus("export-model", *arguments)
        assert (done.exit_code, message in done.output) == (2, True), done.output
    assert not (tmp_path / "p").exists()
    assert (run[0] / "qwen").is_dir()


def test_the_command_offers_all_precisions():
    assert tuple(PRECISIONS) == OFFERED

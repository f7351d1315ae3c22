"""A checkpoint of the quick-train, exported, drawn by diffusers and by us: the same pictures."""

import json
import re
import shlex

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from nucleus_data.commands import cli
from nucleus_data.commands.sample import PRECISIONS as OFFERED
from nucleus_model.checkpoints.checkpoint import save_checkpoint
from nucleus_model.checkpoints.export import PRECISIONS
from nucleus_model.settings.settings import QuickTrainSettings
from nucleus_model.settings.text_encoder import TextSettings
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


@pytest.mark.slow
def test_what_is_exported_draws_the_same(diffusers, run, tmp_path):
    place, model = run
    done = nucleus("export-model", place / "with", tmp_path / "p")
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == str(tmp_path / "p")
    assert "('a red square', max_sequence_length=128, height" in done.output
    pipe = diffusers.NucleusMoEImagePipeline.from_pretrained(tmp_path / "p")
    pipe.set_progress_bar_config(disable=True)
    assert same_weights(pipe.transformer, model)
    notes = json.loads((tmp_path / "p/nucleus.json").read_text())
    theirs = pipe(
        "a red square",
        height=SIDE,
        width=SIDE,
        num_inference_steps=4,
        generator=torch.Generator().manual_seed(SEED),
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


def code_of(card, language):
    (code,) = re.findall(rf"```{language}\n(.*?)```", card.read_text(), re.DOTALL)
    return code


@pytest.mark.slow
def test_the_call_of_the_card_as_it_is_written(diffusers, run, tmp_path, monkeypatch):
    """It draws what `nucleus sample` draws, as the card's other line says; and so does the
    published card's call, which has no argument of ours."""
    assert nucleus("export-model", run[0] / "with", tmp_path / "p").exit_code == 0
    card = tmp_path / "p/README.md"
    assert "Checkpoint with of a training of the preset debug." in card.read_text()
    monkeypatch.chdir(tmp_path / "p")
    exec(compile(code_of(card, "python"), str(card), "exec"), {})
    words = shlex.split(code_of(card, "sh"))
    done = nucleus(*words[1:], "--out", tmp_path / "drawn")
    assert done.exit_code == 0, done.output
    theirs, ours = (
        np.asarray(Image.open(file)).astype(int)
        for file in (tmp_path / "p/a red square.png", tmp_path / "drawn/0000-0.png")
    )
    assert theirs.shape == (SIDE, SIDE, 3)
    assert theirs.std() > 5
    assert np.abs(ours - theirs).max() <= 1

    pipe = diffusers.DiffusionPipeline.from_pretrained(".")
    pipe.set_progress_bar_config(disable=True)
    pipe.transformer.enable_cache(diffusers.TextKVCacheConfig())
    width, height = SIDE, SIDE
    picture = pipe(
        prompt="a red square",
        width=width,
        height=height,
        num_inference_steps=50,
        guidance_scale=4.0,
        generator=torch.Generator(device="cpu").manual_seed(0),
    ).images[0]
    assert np.abs(np.asarray(picture).astype(int) - ours).max() <= 1


@pytest.mark.slow
def test_the_card_of_half_the_bytes(diffusers, run, tmp_path, monkeypatch):
    """The noise is that of the precision, too; rounding adds up over 50 steps."""
    nucleus("export-model", run[0] / "with", tmp_path / "p", "--precision=bfloat16")
    monkeypatch.chdir(tmp_path / "p")
    code = code_of(tmp_path / "p/README.md", "python")
    assert "dtype=torch.bfloat16" in code
    exec(compile(code, "README.md", "exec"), {})
    words = shlex.split(code_of(tmp_path / "p/README.md", "sh"))
    assert nucleus(*words[1:], "--out", tmp_path / "drawn").exit_code == 0
    theirs, ours = (
        np.asarray(Image.open(file)).astype(int)
        for file in (tmp_path / "p/a red square.png", tmp_path / "drawn/0000-0.png")
    )
    assert np.abs(ours - theirs).mean() < 10


@pytest.mark.slow
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


@pytest.mark.slow
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

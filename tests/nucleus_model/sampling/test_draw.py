import inspect
import json
import os

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from nucleus_data.commands import cli
from nucleus_data.commands.sample import RATIOS
from nucleus_data.sets.buckets import SIZES_1024, bucket_size
from nucleus_model.checkpoints.checkpoint import save_checkpoint
from nucleus_model.checkpoints.export import export
from nucleus_model.checkpoints.merge import merge_checkpoints
from nucleus_model.encoders.text import TextEncoder
from nucleus_model.network.init import build_transformer
from nucleus_model.sampling import draw as draw_module
from nucleus_model.sampling.pictures import read_parameters
from nucleus_model.settings.presets import PRESETS
from nucleus_model.settings.settings import QuickTrainSettings


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    settings = QuickTrainSettings(preset="debug")
    width = TextEncoder(settings.text).width
    model = build_transformer(PRESETS["debug"], latent_channels=48, text_width=width, seed=1)
    folder = tmp_path_factory.mktemp("run") / "000600"
    record = {"settings": settings.model_dump(mode="json"), "resolution": 32}
    save_checkpoint(folder, model, record)
    return folder


def sample(*arguments):
    return CliRunner().invoke(cli, ["sample", *map(str, arguments)])


@pytest.mark.slow
def test_a_file_for_each_prompt_and_seed_says_how_it_was_made(checkpoint, tmp_path):
    options = ("--seed=3", "--seed=4", "--steps=2", "--aspect=3:2", "--negative=grey")
    done = sample(checkpoint, "a red <b>square</b>", "ein Öl", *options, f"--out={tmp_path}")
    assert done.exit_code == 0, done.output
    names = ["0000-3.png", "0000-4.png", "0001-3.png", "0001-4.png", "samples.png"]
    assert done.output.splitlines() == [str(tmp_path / name) for name in names]
    assert read_parameters(tmp_path / "0001-4.png") == {
        "prompt": "ein Öl",
        "seed": 4,
        "steps": 2,
        "solver": "euler",
        "guidance": 4.0,
        "negative": "grey",
        "width": 40,
        "height": 24,
        "checkpoint": "000600",
    }
    with Image.open(tmp_path / "0000-3.png") as image:
        assert image.size == (40, 24)
    grid = json.loads((tmp_path / "samples.json").read_text())
    assert (grid["rows"], grid["columns"]) == (["a red <b>square</b>", "ein Öl"], [3, 4])


@pytest.mark.slow
def test_width_and_height_are_in_pixels(checkpoint, tmp_path):
    done = sample(checkpoint, "red", "--steps=1", "--width=24", "--height=40", f"--out={tmp_path}")
    assert done.exit_code == 0, done.output
    with Image.open(tmp_path / "0000-0.png") as image:
        assert image.size == (24, 40)
    for options, message in [
        (("--width=24",), "got width 24, height None"),
        (
            ("--width=24", "--height=24", "--aspect=1:1"),
            "size as width and height, or as aspect",
        ),
        (("--width=24", "--height=24", "--resolution=32"), "give the size as width and height, or"),
        (("--width=24", "--height=20"), "must be multiples of 8"),
        ((f"--seed={2**64}",), "is not in the range"),
    ]:
        done = sample(checkpoint, "red", *options, "--out", tmp_path / "none")
        assert (done.exit_code, message in done.output) == (2, True), done.output
    assert not (tmp_path / "none").exists()


def test_the_command_offers_what_the_function_takes(checkpoint):
    """And `merge` and `export-model` likewise: what Python can ask for, the command line can."""
    for name, function, renamed in [
        ("sample", draw_module.draw, {"folder": "checkpoint"}),
        ("export-model", export, {"shard_bytes": "shard_gb"}),
        ("merge", merge_checkpoints, {"folders": "checkpoints", "weights": "given"}),
    ]:
        wanted = {renamed.get(p, p) for p in inspect.signature(function).parameters}
        assert wanted <= {p.name for p in cli.get_command(click.Context(cli), name).params}, name


@pytest.mark.slow
def test_the_same_arguments_give_the_same_picture(checkpoint, tmp_path):
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        sample(checkpoint, "red", "--steps=2", f"--seed={seed}", "--out", tmp_path / folder)
    pictures = {
        folder: np.asarray(Image.open(next((tmp_path / folder).glob("0000-*.png"))))
        for folder in "abc"
    }
    assert (pictures["a"] == pictures["b"]).all()
    assert (pictures["a"] != pictures["c"]).any()


@pytest.mark.slow
def test_all_prompts_and_seeds_share_batches(checkpoint, tmp_path, monkeypatch):
    seen, images = [], draw_module.sample_images

    def counted(*args, **options):
        seen.append((args[3], args[4]))
        return images(*args, **options)

    monkeypatch.setattr(draw_module, "sample_images", counted)
    options = ("--steps=2", "--seed=1", "--seed=2")
    sample(checkpoint, "red", "blue", *options, "--batch=3", "--out", tmp_path / "a")
    assert seen == [(["red", "red", "blue"], [1, 2, 1]), (["blue"], [2])]
    sample(checkpoint, "blue", "--steps=2", "--seed=2", "--out", tmp_path / "b")
    one, other = (np.asarray(Image.open(tmp_path / f)) for f in ("a/0001-2.png", "b/0000-2.png"))
    assert np.abs(one.astype(int) - other).max() <= 1


@pytest.mark.slow
def test_the_solver_is_a_choice_and_in_the_png(checkpoint, tmp_path):
    for solver in ("euler", "unipc"):
        done = sample(
            checkpoint, "red", "--steps=3", f"--solver={solver}", "--out", tmp_path / solver
        )
        assert done.exit_code == 0, done.output
        assert read_parameters(tmp_path / solver / "0000-0.png")["solver"] == solver


@pytest.mark.slow
def test_the_seven_ratios_are_those_of_the_training_sets(checkpoint, tmp_path):
    assert [ratio.replace(":", "x") for ratio in RATIOS] == list(SIZES_1024)
    assert len(RATIOS) == 7
    for ratio in RATIOS:
        done = sample(checkpoint, "red", "--steps=1", f"--aspect={ratio}", f"--out={tmp_path}")
        assert done.exit_code == 0, done.output
        with Image.open(tmp_path / "0000-0.png") as image:
            assert image.size == bucket_size(32, ratio.replace(":", "x"), 8)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("red", "--device=abacus"), "device 'abacus' can't be used: Expected one of cpu"),
        (("red", "--guidance=nan"), "'nan' is not a finite number"),
        (("red", os.fsdecode(b"\xe9")), r"the prompt '\udce9' is not valid UTF-8"),
        (("red", "--negative", os.fsdecode(b"\xe9")), "is not valid UTF-8"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_words(checkpoint, tmp_path, arguments, said):
    done = sample(checkpoint, *arguments, f"--out={tmp_path / 'drawn'}")
    assert done.exit_code == 2
    assert said in done.output
    assert not (tmp_path / "drawn").exists()


def test_what_is_no_checkpoint_is_refused(tmp_path):
    done = sample(tmp_path, "red")
    assert done.exit_code == 2
    assert "checkpoint.json" in done.output
    assert sample(tmp_path / "nowhere", "red").exit_code == 2

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from nucleus_data.errors import CorpusError
from nucleus_model.checkpoint import load_checkpoint
from nucleus_model.choice import choose
from nucleus_model.codec import SpaceToDepth
from nucleus_model.holdout import held_out_loss
from nucleus_model.latents import Latents
from nucleus_model.loader import TrainingSet
from nucleus_model.settings import QuickTrainSettings, TextSettings
from nucleus_model.text import TextEncoder
from nucleus_model.train import quick_train
from tests.model_support import colored_items, write_set
from tests.train_support import assert_same, lines, settings, write_inputs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("quick"))


@pytest.fixture(scope="module")
def run(inputs, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    seen = []
    summary = quick_train(
        str(inputs[0]), out, settings(inputs[1]), progress=lambda *args: seen.append(args)
    )
    return out, summary, seen


def test_what_a_run_leaves(run):
    out, summary, seen = run
    metrics = lines(out / "metrics.jsonl")
    steps = [line for line in metrics if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4, 5, 6]
    assert steps[0].keys() == {"step", "epoch", "loss", "lr", "grad_norm", "samples"}
    assert [line["step"] for line in metrics if "holdout_loss" in line] == [3, 6]
    assert [line["step"] for line in lines(out / "timings.jsonl")] == [1, 2, 3, 4, 5, 6]
    assert [step for step, _, _ in seen] == [1, 2, 3, 4, 5, 6]
    assert "holdout_loss" in seen[-1][2]
    assert summary["timings"]["images_per_second"] > 0
    written = json.loads((out / "summary.json").read_text())
    assert json.loads(json.dumps(summary)) == written | {"timings": summary["timings"]}
    assert summary["train_samples"] + summary["holdout_samples"] == summary["samples"] == 20
    assert summary["text"].startswith(f"6 steps, {summary['images']} images of ")
    assert f"held-out loss {summary['holdout'][-1]['holdout_loss']:.3f}" in summary["text"]
    assert summary["images"] == sum(line["samples"] for line in steps)
    with Image.open(out / summary["grid"]) as picture:
        assert picture.size == (3 * 34 + 2, 2 * 34 + 2)  # the fullest bucket, 32 x 32


def test_no_wall_clock_but_in_the_timings(run):
    out, _, _ = run
    for path in out.rglob("*"):
        if path.suffix in {".json", ".jsonl"} and path.name != "timings.jsonl":
            assert "second" not in path.read_text()


def test_two_runs_are_equal_to_the_last_bit(run, inputs, tmp_path):
    torch.manual_seed(99)  # the global generator has no say
    quick_train(str(inputs[0]), tmp_path, settings(inputs[1]))
    assert_same(run[0], tmp_path)


def test_another_seed_gives_other_losses_on_the_same_held_out_samples(run, inputs, tmp_path):
    summary = quick_train(str(inputs[0]), tmp_path, settings(inputs[1], seed=1))
    assert summary["last_loss"] != run[1]["last_loss"]
    assert summary["holdout_samples"] == run[1]["holdout_samples"]


def test_the_checkpoint_reloads(run):
    model, record = load_checkpoint(run[0] / run[1]["checkpoint"])
    assert record["step"] == 6
    assert record["settings"]["lr"] == 5e-3
    assert sum(parameter.numel() for parameter in model.parameters()) == run[1]["parameters"]


def test_torch_is_left_as_it_was(run, inputs, tmp_path):
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with pytest.raises(CorpusError):
        quick_train(str(tmp_path / "none"), tmp_path / "out", settings(inputs[1], threads=3))
    assert before == (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())


@pytest.mark.slow
def test_the_loss_falls_and_the_captions_are_learned(inputs, tmp_path):
    folder = str(write_set(tmp_path / "set", colored_items(16, (16, 16)), resolution=16))
    changes = {"steps": 100, "lr": 1e-2, "holdout_share": 0.0}
    summary = quick_train(folder, tmp_path / "out", settings(inputs[1], **changes))
    metrics = lines(tmp_path / "out" / "metrics.jsonl")
    losses = [line["loss"] for line in metrics if "loss" in line]
    assert losses[0] > 1
    assert np.mean(losses[-10:]) < 0.6 * losses[0]
    assert summary["holdout"] == []
    # The same images with each other's captions are harder.
    model, _ = load_checkpoint(tmp_path / "out" / summary["checkpoint"])
    found = TrainingSet(folder)
    captions = [sample.captions for sample in found.samples]
    swapped = [
        replace(sample, captions=other)
        for sample, other in zip(found.samples, captions[1:] + captions[:1], strict=True)
    ]
    text = TextEncoder(TextSettings(model=str(inputs[1])))
    right, wrong = (
        held_out_loss(model, text, Latents(SpaceToDepth(2)), found, samples, 16)
        for samples in (found.samples, swapped)
    )
    assert wrong.loss > 1.05 * right.loss


def test_a_bucket_that_does_not_fit_the_patches_is_refused(inputs, tmp_path):
    folder = write_set(tmp_path / "set", colored_items(2, (36, 28)), resolution=32)
    with pytest.raises(ValueError, match="36 x 28 is no multiple of 8"):
        quick_train(str(folder), tmp_path / "out", settings(inputs[1], codec_factor=4))


def test_a_set_with_nothing_to_train_on_is_refused(inputs, tmp_path):
    folder = write_set(tmp_path / "set", colored_items(1, (32, 32)), resolution=32)
    with pytest.raises(CorpusError, match="none of them is left to train on"):
        quick_train(str(folder), tmp_path / "out", settings(inputs[1], holdout_share=0.999))


def test_a_set_of_broken_images_ends(inputs, tmp_path):
    items = colored_items(2, (32, 32))
    for item in items:
        item.image = item.image[:40]
    folder = write_set(tmp_path / "set", items, resolution=32)
    with pytest.raises(CorpusError, match="none of the 2 images can be decoded; the first: 0000"):
        quick_train(str(folder), tmp_path / "out", settings(inputs[1], holdout_share=0.0))


def test_a_run_that_diverges_stops_and_leaves_no_checkpoint(inputs, tmp_path):
    with pytest.raises(FloatingPointError, match=r"diverged at step \d+: .*Lower quick_train.lr"):
        quick_train(str(inputs[0]), tmp_path, settings(inputs[1], lr=1e30, warmup=0, steps=20))
    assert not (tmp_path / "checkpoints").exists()


def test_unknown_settings_are_errors():
    with pytest.raises(ValidationError, match="learning_rate"):
        QuickTrainSettings.model_validate({"learning_rate": 1e-3})


def test_a_limit_and_a_sample_train_as_on_a_set_of_those_samples_alone(inputs, tmp_path):
    items = colored_items(12, (32, 32)) + colored_items(8, (48, 16), 12)
    for number, choice in enumerate(({"limit": 14}, {"sample": 0.6})):
        out, alone = tmp_path / f"out-{number}", tmp_path / f"alone-{number}"
        plan = settings(inputs[1], steps=2, **choice)
        summary = quick_train(str(inputs[0]), out, plan)
        train, held = choose([item.id for item in items], plan)
        assert (summary["train_samples"], summary["holdout_samples"]) == (len(train), len(held))
        assert len(train) + len(held) < summary["samples"] == 20
        few = [item for item in items if item.id in {*train, *held}]
        folder = write_set(tmp_path / "few", few, resolution=32)
        quick_train(str(folder), alone, settings(inputs[1], steps=2))
        for name in ("metrics.jsonl", "samples.json"):
            assert (out / name).read_bytes() == (alone / name).read_bytes()
        shutil.rmtree(tmp_path / "few")


@pytest.mark.slow
def test_no_ray_no_stage_is_imported_and_no_torch_by_the_settings():
    code = (
        "import sys, nucleus_model.settings; assert 'torch' not in sys.modules; "
        "import nucleus_model.train; "
        "bad = [m for m in sys.modules if m == 'ray' or m.startswith(('nucleus_data.stage', "
        "'nucleus_data.runner'))]; assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

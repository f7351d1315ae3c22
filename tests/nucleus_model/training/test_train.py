import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from nucleus_data.errors import CorpusError
from nucleus_model.checkpoints.checkpoint import load_checkpoint
from nucleus_model.data.latents import Latents
from nucleus_model.data.loader import TrainingSet
from nucleus_model.encoders.codec import SpaceToDepth
from nucleus_model.encoders.text import TextEncoder
from nucleus_model.settings.choice import choose
from nucleus_model.settings.settings import QuickTrainSettings
from nucleus_model.settings.text_encoder import TextSettings
from nucleus_model.training.holdout import held_out_loss
from nucleus_model.training.train import quick_train
from tests.support.model import colored_items, write_set
from tests.support.training import (
    assert_same,
    lines,
    settings,
    write_inputs,
    write_two_resolutions,
)


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
    keys = {"step", "epoch", "loss", "lr", "grad_norm", "samples", "image_tokens"}
    assert steps[0].keys() == keys
    assert [line["step"] for line in metrics if "holdout_loss" in line] == [3, 6]
    assert [line["step"] for line in lines(out / "timings.jsonl")] == [1, 2, 3, 4, 5, 6]
    assert [step for step, _, _ in seen] == [1, 2, 3, 4, 5, 6]
    assert "holdout_loss" in seen[-1][2]
    assert summary["timings"]["images_per_second"] > 0
    written = json.loads((out / "summary.json").read_text())
    assert json.loads(json.dumps(summary)) == written | {
        k: summary[k] for k in ("timings", "encoded")
    }
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


@pytest.mark.slow
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


def test_a_set_of_broken_images_ends(inputs, tmp_path):
    items = colored_items(2, (32, 32))
    for item in items:
        item.image = item.image[:40]
    folder = write_set(tmp_path / "set", items, resolution=32)
    with pytest.raises(CorpusError, match="none of the 2 images can be decoded; first error: 0000"):
        quick_train(str(folder), tmp_path / "out", settings(inputs[1], holdout_share=0.0))


@pytest.mark.slow
def test_a_run_that_diverges_stops_and_leaves_no_checkpoint(inputs, tmp_path):
    with pytest.raises(FloatingPointError, match=r"diverged at step \d+: .*Lower quick_train.lr"):
        quick_train(str(inputs[0]), tmp_path, settings(inputs[1], lr=1e30, warmup=0, steps=20))
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.slow
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
def test_phases_change_resolution_batch_and_capacity_and_repeat_no_epoch(inputs, tmp_path):
    folder = write_two_resolutions(tmp_path / "set")
    phases = (
        {"steps": 3, "resolution": 32, "batch_size": 6, "capacity_factors": 4.0},
        {"steps": 2, "resolution": 64, "batch_size": 2, "lr_factor": 0.5},
    )
    plan = QuickTrainSettings.model_validate(
        {k: v for k, v in settings(inputs[1]).model_dump().items() if k != "steps"}
        | {"phases": phases, "checkpoint_every": 3, "keep_checkpoints": 2, "decay_share": 0}
    )
    summary = quick_train(str(folder), tmp_path / "out", plan)
    steps = [line for line in lines(tmp_path / "out" / "metrics.jsonl") if "loss" in line]
    assert [line["phase"] for line in steps] == [0, 0, 0, 1, 1]
    assert max(line["samples"] for line in steps[:3]) == 6
    assert max(line["samples"] for line in steps[3:]) == 2
    assert steps[3]["epoch"] == steps[2]["epoch"] + 1
    assert [steps[2]["lr"], steps[3]["lr"]] == [5e-3, 2.5e-3]
    first, record = load_checkpoint(tmp_path / "out" / "checkpoints" / "000003")
    assert (first.config.capacity_factors, record["resolution"]) == ((0.0, 4.0), 32)
    last, record = load_checkpoint(tmp_path / "out" / summary["checkpoint"])
    assert (last.config.capacity_factors, record["resolution"]) == ((0.0, 2.0), 64)
    with Image.open(tmp_path / "out" / "samples.png") as picture:
        assert picture.size[0] == 3 * 66 + 2


def test_a_phase_without_samples_is_told_before_the_first_step(inputs, tmp_path):
    for changes in ({"aspects": ("9x9",)}, {"captions": {"poem": 1.0}}):
        with pytest.raises(CorpusError, match=r"aspects 32x32, 48x16 and captions synthesized"):
            quick_train(str(inputs[0]), tmp_path, settings(inputs[1], **changes))
    assert not (tmp_path / "metrics.jsonl").exists()


@pytest.mark.slow
def test_the_last_checkpoints_are_merged_and_measured(inputs, tmp_path):
    changes = {"schedule": "warmup_stable_merge", "checkpoint_every": 1, "merge_last": 3}
    summary = quick_train(str(inputs[0]), tmp_path, settings(inputs[1], **changes))
    assert summary["checkpoint"] == "checkpoints/merged-000006"
    assert summary["merged"]["checkpoints"] == ["000004", "000005", "000006"]
    assert summary["merged"]["holdout_loss"] != summary["holdout"][-1]["holdout_loss"]
    rates = [line["lr"] for line in lines(tmp_path / "metrics.jsonl") if "lr" in line]
    assert rates[-1] == 5e-3
    merged, record = load_checkpoint(tmp_path / summary["checkpoint"])
    weights = record["merged"]["weights"]
    parts = [
        load_checkpoint(tmp_path / "checkpoints" / f"00000{n}")[0].state_dict() for n in (4, 5, 6)
    ]
    for name, tensor in merged.state_dict().items():
        mean = sum(w * part[name].double() for w, part in zip(weights, parts, strict=True))
        assert torch.equal(tensor, mean.float()), name


@pytest.mark.slow
def test_grids_on_the_way_and_routers_are_there_at_their_intervals(inputs, tmp_path):
    quick_train(str(inputs[0]), tmp_path, settings(inputs[1], sample_every=4, router_every=3))
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["000004.png"]
    routers = [line for line in lines(tmp_path / "metrics.jsonl") if "router" in line]
    assert [line["step"] for line in routers] == [3, 6]
    assert routers[0]["router"]["1"]["coverage"] > 0


@pytest.mark.slow
def test_a_step_that_is_odd_is_skipped_counted_and_named(inputs, tmp_path, monkeypatch):
    import nucleus_model.training.step as module

    real, bad = module.draw_noise, []

    def noise(seed, key, shape):
        bad.append(key)
        return real(seed, key, shape) * (float("nan") if len(bad) == 1 else 1)

    monkeypatch.setattr(module, "draw_noise", noise)
    summary = quick_train(str(inputs[0]), tmp_path, settings(inputs[1]))
    assert summary["skipped_steps"] == 1
    assert "6 steps, 1 of them skipped" in summary["text"]
    first, second = [line for line in lines(tmp_path / "metrics.jsonl") if "loss" in line][:2]
    assert (first["loss"], first["skipped"]) == (None, "loss")
    assert bad[0].removeprefix("0:") in first["ids"]
    assert second["loss"] > 0
    assert "skipped" not in second

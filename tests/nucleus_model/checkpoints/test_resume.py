"""A run that is stopped and called again is the run that was not."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml

from nucleus_data.errors import CorpusError, RequestError
from nucleus_model.checkpoints.checkpoint import STATE, TRAINER, save_checkpoint
from nucleus_model.checkpoints.resume import Checkpoints, alone, read_facts
from nucleus_model.settings.settings import QuickTrainSettings
from nucleus_model.training.train import quick_train
from tests.support.model import awake_model
from tests.support.training import assert_same, lines, settings, write_inputs

PHASES = (
    {"steps": 5, "batch_size": 4, "capacity_factors": 4.0},
    {"steps": 6, "batch_size": 3, "aspects": ["32x32"], "lr_factor": 0.5},
)
CHANGES = {
    "phases": PHASES,
    "optimizer": "muon",
    "checkpoint_every": 3,
    "keep_checkpoints": 2,
    "sample_every": 4,
    "router_every": 2,
    "spike_factor": 5.0,
    "holdout_times": 3,
}


class Stop(Exception):
    pass


def made(qwen, **changes):
    values = settings(qwen).model_dump() | CHANGES | changes
    del values["steps"]
    return type(settings(qwen)).model_validate(values)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("resume"))


@pytest.fixture(scope="module")
def whole(inputs, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    quick_train(str(inputs[0]), out, made(inputs[1]))
    return out


def stopped_at(step):
    def progress(now, steps, line):
        if now == step:
            raise Stop

    return progress


@pytest.mark.slow
@pytest.mark.parametrize("steps", [(2,), (3,), (5, 6), (4, 8, 11)])
def test_a_stopped_run_goes_on_to_the_same_bits(whole, inputs, tmp_path, steps):
    for step in steps:
        with pytest.raises(Stop):
            quick_train(str(inputs[0]), tmp_path, made(inputs[1]), progress=stopped_at(step))
    torch.manual_seed(5)  # the generator of whoever calls has no say
    seen = []
    quick_train(
        str(inputs[0]), tmp_path, made(inputs[1]), progress=lambda step, *_: seen.append(step)
    )
    assert seen == list(range(steps[-1] // 3 * 3 + 1 if steps[-1] < 11 else 12, 12))
    assert_same(whole, tmp_path)
    steps_there = [line["step"] for line in lines(tmp_path / "metrics.jsonl") if "loss" in line]
    assert steps_there == list(range(1, 12))


@pytest.mark.slow
def test_a_finished_run_called_again_leaves_the_same(whole, inputs, tmp_path):
    shutil.copytree(whole, tmp_path / "again")
    summary = quick_train(str(inputs[0]), tmp_path / "again", made(inputs[1]))
    assert summary["steps"] == 11
    assert_same(whole, tmp_path / "again")


@pytest.mark.slow
def test_what_decides_losses_may_not_change_and_the_rest_may(whole, inputs, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    with pytest.raises(ValueError, match=r"other settings: lr \(0.005, now 0.1\); continue with"):
        quick_train(str(inputs[0]), out, made(inputs[1], lr=0.1))
    quick_train(str(inputs[0]), out, made(inputs[1], sample_seeds=(7,), guidance=2.0))
    other = write_inputs(tmp_path)[0]
    next(other.rglob("*.index.parquet")).unlink()
    with pytest.raises(CorpusError):
        quick_train(str(other), out, made(inputs[1]))
    (out / "metrics.jsonl").write_text("")
    with pytest.raises(CorpusError, match="lacks or repeats some of the steps 1 to 11 that"):
        quick_train(str(inputs[0]), out, made(inputs[1]))


@pytest.mark.slow
def test_a_run_of_a_version_that_had_fewer_settings_goes_on(whole, inputs, tmp_path):
    """It is killed after its last step, and lacks what came since."""
    shutil.copytree(whole, out := tmp_path / "out")
    (trainer,) = out.glob("checkpoints/*/trainer.json")
    facts = json.loads(trainer.read_text())
    for name in ("spike_window", "timestep_uniform", "sample_every"):
        del facts["settings"][name]
    del facts["settings"]["text"]["cache_bytes"]
    for phase in facts["settings"]["phases"]:
        del phase["timestep_mu"]
    trainer.write_text(json.dumps(facts))
    assert quick_train(str(inputs[0]), out, made(inputs[1]))["steps"] == 11
    assert_same(whole, out, ("timings.jsonl", "trainer.json"))


@pytest.mark.slow
def test_a_finished_run_is_extended(inputs, tmp_path):
    """Where the rate stays, it is the run of more steps; where it had fallen, it rises again."""
    for schedule in ("warmup_stable_merge", "warmup_decay"):
        given = {"steps": 6, "schedule": schedule, "checkpoint_every": 3, "merge_last": 2}
        more = {**given, "steps": 9}
        once, twice = tmp_path / f"{schedule}-once", tmp_path / f"{schedule}-twice"
        quick_train(str(inputs[0]), once, settings(inputs[1], **more))
        quick_train(str(inputs[0]), twice, settings(inputs[1], **given))
        with pytest.raises(ValueError, match=r"lr \(0.005, now 0.1\); continue"):
            quick_train(str(inputs[0]), twice, settings(inputs[1], **more, lr=0.1))
        seen = []
        summary = quick_train(
            str(inputs[0]),
            twice,
            settings(inputs[1], **more),
            progress=lambda step, *_, seen=seen: seen.append(step),
        )
        assert seen == [7, 8, 9]
        assert (summary["steps"], summary["extended"]) == (9, [6])
        assert "9 steps (extended after step 6)" in summary["text"]
        steps = [
            [(x["step"], x["lr"]) for x in lines(out / "metrics.jsonl") if "loss" in x]
            for out in (once, twice)
        ]
        assert [step for step, _ in steps[1]] == list(range(1, 10))
        assert steps[0][6:] == steps[1][6:]
        weights = [
            (out / "checkpoints/000009/model.safetensors").read_bytes() for out in (once, twice)
        ]
        assert (weights[0] == weights[1]) == (schedule == "warmup_stable_merge")
        # Called once more, it is done; with fewer steps, it is another run.
        again = quick_train(str(inputs[0]), twice, settings(inputs[1], **more))
        assert again["extended"] == [6]
        with pytest.raises(ValueError, match=r"steps \(9, now 6\)"):
            quick_train(str(inputs[0]), twice, settings(inputs[1], **given))


@pytest.mark.slow
def test_a_finished_run_gets_a_further_phase(whole, inputs, tmp_path):
    shutil.copytree(whole, out := tmp_path / "out")
    phases = (*PHASES, {"steps": 2, "batch_size": 4, "capacity_factors": 1.0})
    summary = quick_train(str(inputs[0]), out, made(inputs[1], phases=phases))
    assert (summary["steps"], summary["extended"]) == (13, [11])
    steps = [line for line in lines(out / "metrics.jsonl") if "loss" in line]
    assert [line["phase"] for line in steps] == [0] * 5 + [1] * 6 + [2] * 2


@pytest.mark.slow
def test_checkpoints_of_another_run_are_never_overwritten(inputs, tmp_path):
    save_checkpoint(tmp_path / "checkpoints" / "000003", awake_model(), {"step": 3})
    with pytest.raises(ValueError, match=r"checkpoints of another run, .* without trainer.json"):
        quick_train(str(inputs[0]), tmp_path, made(inputs[1]))
    assert (tmp_path / "checkpoints" / "000003" / "model.safetensors").exists()


def test_one_process_at_a_time_trains_in_a_folder(tmp_path):
    another = pytest.raises(RequestError, match="another process is training in")
    with alone(tmp_path), another, alone(tmp_path):
        pass
    with alone(tmp_path):
        pass


def test_the_newest_are_kept_and_the_state_in_the_newest_alone(tmp_path):
    found = Checkpoints(tmp_path, keep=2)
    assert found.newest() is None
    for step in (5, 10, 15, 1_000_000):
        folder = found.path(step)
        folder.mkdir()
        for name in (TRAINER, STATE, "model.safetensors"):
            (folder / name).write_text("")
        found.prune()
    (tmp_path / ".000020.xyz").mkdir()
    (tmp_path / "merged-000015").mkdir()
    found.sweep()
    assert [path.name for path in found.all()] == ["000015", "1000000"]
    assert found.newest() == found.path(1_000_000)
    assert [path.name for path in found.path(15).iterdir()] == ["model.safetensors"]
    assert {path.name for path in tmp_path.iterdir()} == {"000015", "1000000", "merged-000015"}


@pytest.mark.slow
def test_kill_9_at_any_moment(whole, inputs, tmp_path):
    """The command is killed again and again, at moments that a seed draws, until it is done."""
    config = tmp_path / "recipe.yaml"
    config.write_text(yaml.safe_dump({"quick_train": made(inputs[1]).model_dump(mode="json")}))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "nucleus_model", str(inputs[0]), str(out)]
    command += ["--config", str(config)]
    moments, kills = random.Random(1), 0
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    while True:
        process = subprocess.Popen(command, env=environment)
        until_first(out, process)
        # The first three surely before it is done, which takes it a second or less.
        longest = 0.1 if kills < 3 else 1.0
        wait = moments.uniform(0, longest) if kills < 5 else 300
        try:
            assert process.wait(wait) == 0
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            continue
        break
    assert kills >= 3
    assert_same(whole, out)


def until_first(out, process):
    """Waits until a process is past its imports: it has opened its metrics anew."""
    file = out / "metrics.jsonl"
    before = file.stat().st_mtime_ns if file.exists() else 0
    while process.poll() is None:
        if file.exists() and file.stat().st_mtime_ns != before:
            return
        time.sleep(0.01)


def test_a_run_on_a_set_of_the_older_layout_is_told_so(tmp_path):
    plan = QuickTrainSettings()
    facts = {"settings": plan.model_dump(mode="json"), "data": ["0123456789abcdef"], "step": 1}
    (tmp_path / "trainer.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=r"in the old layout, with captions in its tars, which"):
        read_facts(tmp_path, plan, ["sets-2:0123456789abcdef"])
    facts["data"] = ["sets-2:fedcba9876543210"]
    (tmp_path / "trainer.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=r"other settings: the training set; continue with"):
        read_facts(tmp_path, plan, ["sets-2:0123456789abcdef"])

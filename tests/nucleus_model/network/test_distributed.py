"""Two processes that torchrun starts, on CPUs with gloo, against one."""

import os
import subprocess
import sys
import time

import psutil
import pytest
import torch
import yaml

from nucleus_model.checkpoints.checkpoint import load_checkpoint
from nucleus_model.network.distributed import World, like, whole
from tests.support.training import lines, settings, write_inputs

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
CHANGES = {
    "steps": 5,
    "checkpoint_every": 2,
    "holdout_times": 2,  # a pass without gradients between steps
    "holdout_limit": 1,
    "sample_every": 3,
    "sample_steps": 1,
    "sample_rows": 1,
    "sample_seeds": (0,),
    "router_every": 2,
    "router_z_loss": 0.01,
}
# Each of a step's hundred messages waits until both processes have a core, which beside other work
# takes seconds a step.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("distributed"))


def command(inputs, out, processes, **changes):
    config = out.parent / f"{out.name}.yaml"
    values = settings(inputs[1], **CHANGES | changes).model_dump(mode="json")
    config.write_text(yaml.safe_dump(values))
    module = ["-m", "nucleus_model", str(inputs[0]), str(out), "--config", str(config)]
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [sys.executable, *(torchrun if processes > 1 else []), *module]


def train(inputs, out, processes, **changes):
    done = subprocess.run(
        command(inputs, out, processes, **changes),
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [line for line in lines(out / "metrics.jsonl") if "loss" in line], done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "adamw"},
        {"optimizer": "muon", "micro_batch": 2, "gradient_checkpointing": True},
    ],
)
def test_two_processes_give_the_losses_of_one(inputs, tmp_path, changes):
    one, _ = train(inputs, tmp_path / "one", 1, **changes)
    two, said = train(inputs, tmp_path / "two", 2, **changes)
    assert [line["step"] for line in two] == list(range(1, 6))
    assert min(line["samples"] for line in one) % 2 == 1, "no batch that two can't halve"
    for alone, shared in zip(one, two, strict=True):
        assert shared["loss"] == pytest.approx(alone["loss"], rel=1e-5)
        assert shared["grad_norm"] == pytest.approx(alone["grad_norm"], rel=1e-4)
        assert shared["z_loss"] == pytest.approx(alone["z_loss"], rel=1e-5)
        assert shared["samples"] == alone["samples"]
        assert shared["image_tokens"] == alone["image_tokens"]
    assert said.count("5 steps") == 1, "one process alone speaks"
    models = [
        load_checkpoint(tmp_path / name / "checkpoints" / "000005")[0].state_dict()
        for name in ("one", "two")
    ]
    for name, tensor in models[0].items():
        torch.testing.assert_close(models[1][name], tensor, rtol=1e-3, atol=1e-4, msg=name)


KILLED = {"steps": 9, "lr": 1e-4, "optimizer": "muon", "sample_every": 0}


@pytest.fixture(scope="module")
def never_killed(inputs, tmp_path_factory):
    """The lines of a run of one process."""
    return train(inputs, tmp_path_factory.mktemp("never") / "alone", 1, **KILLED)[0]


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_another_number_of_processes_goes_on_after_a_kill(
    inputs, never_killed, tmp_path, before, after
):
    out = tmp_path / "cut"
    process = subprocess.Popen(command(inputs, out, before, **KILLED), env=ENVIRONMENT)
    while not list(out.glob("checkpoints/0*")):
        assert process.poll() is None
        time.sleep(0.01)
    parent = psutil.Process(process.pid)
    family = [parent, *parent.children(recursive=True)]
    for member in family:
        member.kill()
    process.wait()
    psutil.wait_procs(family)
    done = len((out / "metrics.jsonl").read_text().splitlines())
    found, _ = train(inputs, out, after, **KILLED)
    assert 2 <= done < len(lines(out / "metrics.jsonl"))
    assert [line["step"] for line in found] == list(range(1, 10))
    for one, other in zip(never_killed, found, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-5)


def test_shares_are_the_whole_in_order():
    for size in (1, 2, 3, 5):
        worlds = [World("cpu", rank, size) for rank in range(size)]
        for count in (0, 1, 4, 7):
            items = list(range(count))
            shares = [list(world.share(items)) for world in worlds]
            assert [item for share in shares for item in share] == items
            assert max(map(len, shares)) <= worlds[0].most(count)


def test_one_process_is_plain():
    world = World()
    tensor = torch.ones(2)
    assert world.sums(1.5, 2) == [1.5, 2]
    assert world.texts("ä") == ["ä"]
    assert whole(tensor) is tensor
    assert like(tensor, torch.zeros(2)) is tensor
    assert world.first

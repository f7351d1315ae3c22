import math

import pytest
import torch
from click.testing import CliRunner

from nucleus_data.commands import cli
from nucleus_model.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from nucleus_model.checkpoints.merge import merge_checkpoints
from nucleus_model.settings.schedule import merge_weights
from nucleus_model.settings.settings import QuickTrainSettings
from tests.support.model import awake_model


@pytest.fixture
def folders(tmp_path):
    """Three checkpoints whose weights are 1, 2 and 4 times those of one model."""
    found = []
    for step, scale in ((10, 1.0), (20, 2.0), (30, 4.0)):
        model = awake_model()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(scale)
        save_checkpoint(folder := tmp_path / f"{step:06d}", model, {"step": step, "phase": 1})
        found.append(folder)
    return found


def scales(folder):
    """How often each tensor is that of the first model."""
    merged, _ = load_checkpoint(folder)
    first = awake_model().state_dict()
    for name, tensor in merged.state_dict().items():
        ratio = tensor[first[name] != 0] / first[name][first[name] != 0]
        torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), msg=name)
        yield ratio.flatten()[0].item()


def test_every_tensor_is_the_weighted_mean(folders, tmp_path):
    merge_checkpoints(folders, [3, 2, 1], tmp_path / "merged")
    assert list(scales(tmp_path / "merged")) == pytest.approx(
        [(3 + 2 * 2 + 4) / 6] * len(awake_model().state_dict())
    )
    _, record = load_checkpoint(tmp_path / "merged")
    assert (record["step"], record["phase"]) == (30, 1)
    assert record["merged"]["names"] == ["000010", "000020", "000030"]
    assert record["merged"]["weights"] == [0.5, 2 / 6, 1 / 6]


def test_one_checkpoint_is_itself(folders, tmp_path):
    merge_checkpoints(folders[1:2], [0.3], tmp_path / "merged")
    one, other = (
        load_checkpoint(folder)[0].state_dict() for folder in (folders[1], tmp_path / "merged")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_what_does_not_belong_together_is_refused(folders, tmp_path):
    with pytest.raises(ValueError, match=r"got 3 checkpoints and the weights \[1\]"):
        merge_checkpoints(folders, [1], tmp_path / "merged")
    for weights in ([0, 0, 0], [1, 1, math.nan], [1, 1, math.inf]):
        with pytest.raises(ValueError, match="with a finite sum above 0"):
            merge_checkpoints(folders, weights, tmp_path / "merged")
    other = awake_model()
    other.set_capacity_factors(1.0)
    save_checkpoint(tmp_path / "000040", other, {"step": 40})
    with pytest.raises(ValueError, match=r"configurations of .* differ \(capacity_factors\); only"):
        merge_checkpoints([*folders, tmp_path / "000040"], [1] * 4, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def made(folder, settings, data=("a",), step=10):
    record = {"step": step, "phase": 0, "settings": settings.model_dump(mode="json")}
    save_checkpoint(folder, awake_model(), record | ({"data": list(data)} if data else {}))
    return folder


def test_checkpoints_of_unrelated_runs_are_refused_with_what_differs(tmp_path):
    first = made(tmp_path / "first", QuickTrainSettings(steps=20, lr=0.1))
    other = QuickTrainSettings(steps=20, lr=0.2, seed=3)
    for folder, message in [
        (made(tmp_path / "a", other), r"lr \(0.1, there 0.2\), seed \(0, there 3\); only"),
        (made(tmp_path / "b", QuickTrainSettings(steps=20, lr=0.1), ["b"]), "the training set"),
        (made(tmp_path / "c", QuickTrainSettings(steps=10, lr=0.1)), r"steps \(20, there 10\)"),
    ]:
        with pytest.raises(ValueError, match=f"first and .* are of different runs: .*{message}"):
            merge_checkpoints([first, folder], [1, 1], tmp_path / "merged")
    done = CliRunner().invoke(
        cli, ["merge", str(first), str(tmp_path / "a"), "--out", str(tmp_path / "merged")]
    )
    assert (done.exit_code, "seed (0, there 3)" in done.output) == (2, True)
    assert not (tmp_path / "merged").exists()


def test_one_run_and_what_it_was_extended_to_are_merged(tmp_path):
    start = QuickTrainSettings(steps=10)
    further = QuickTrainSettings.model_validate({"phases": [{"steps": 10}, {"steps": 5}]})
    folders = [
        made(tmp_path / "old", start, None),  # of a version that did not note the data
        made(tmp_path / "start", start),
        made(tmp_path / "elsewhere", start.model_copy(update={"threads": 2, "sample_rows": 1})),
        made(tmp_path / "more", QuickTrainSettings(steps=15)),
        made(tmp_path / "further", further, ["a", "b"]),
    ]
    for name, chosen in (("one", folders[:4]), ("two", [*folders[:3], folders[4]])):
        merge_checkpoints(chosen, [1] * len(chosen), tmp_path / name)
        assert load_checkpoint(tmp_path / name)[1]["merged"]["names"][-1] == chosen[-1].name


def test_the_command(folders, tmp_path):
    def call(*options):
        return CliRunner().invoke(cli, ["merge", *map(str, folders), *map(str, options)])

    done = call("--out", tmp_path / "new")
    assert (done.exit_code, done.output) == (0, f"{tmp_path / 'new'}\n"), done.output
    weights = merge_weights("inverse_sqrt", 3)
    expected = weights[0] + 2 * weights[1] + 4 * weights[2]
    assert next(scales(tmp_path / "new")) == pytest.approx(expected)
    assert "already exists" in call("--out", tmp_path / "new").output
    done = call("--out", tmp_path / "own", "--weight=1", "--weight=0", "--weight=1")
    assert next(scales(tmp_path / "own")) == pytest.approx(2.5)
    done = call("--out", tmp_path / "bad", "--weight=1")
    assert (done.exit_code, "got 3 checkpoints" in done.output) == (2, True)


@pytest.mark.parametrize("name", ["checkpoint.json", "model.safetensors"])
@pytest.mark.parametrize("harm", ["gone", "empty", "odd"])
def test_a_damaged_checkpoint_is_named_and_nothing_is_written(folders, tmp_path, name, harm):
    file = folders[1] / name
    file.unlink()
    if harm != "gone":
        file.write_bytes({"empty": b"", "odd": b"[1]" * 99}[harm])
    out = tmp_path / "merged"
    found = CliRunner().invoke(cli, ["merge", *map(str, folders), "--out", str(out)])
    assert found.exit_code == 2
    said = "no such file" if harm == "gone" else "is damaged ("
    assert f"Error: {file}" in found.output
    assert said in found.output
    assert "unexpected error" not in found.output
    assert not out.exists()


def test_a_place_that_is_none_is_refused(folders, tmp_path):
    (tmp_path / "file").write_text("x")
    arguments = ["merge", *map(str, folders), "--out", str(tmp_path / "file/merged")]
    found = CliRunner().invoke(cli, arguments)
    assert found.exit_code == 2
    assert "Errno" not in found.output

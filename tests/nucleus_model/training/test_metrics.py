import sys

import pytest

from nucleus_data.errors import CorpusError, RequestError
from nucleus_model.training.metrics import Metrics, describe, read_lines
from nucleus_model.training.train import quick_train
from tests.support.training import lines, settings, write_inputs


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("metrics"))


def line(step, loss=1.0):
    return {"step": step, "epoch": 0, "loss": loss, "samples": 2}


def test_a_resumed_run_keeps_the_lines_of_its_steps_and_drops_later_ones(tmp_path):
    first = Metrics(tmp_path, 0)
    for step in (1, 2, 3):
        first.write(line(step, float("nan") if step == 2 else 1.0 / step))
        first.time(step, 0.5, 2)
    first.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # a kill amid a line
    assert [found["step"] for found in read_lines(tmp_path / "metrics.jsonl")] == [1, 2, 3]
    second = Metrics(tmp_path, 2)
    second.close()
    assert lines(tmp_path / "metrics.jsonl") == [line(1), line(2, None)]
    assert [found["step"] for found in lines(tmp_path / "timings.jsonl")] == [1, 2]
    assert second.images_per_second() == 4
    summary = second.summary()
    assert (summary["epochs"], summary["images"]) == (1, 4)
    assert (summary["first_loss"], summary["last_loss"]) == (1.0, 1.0)
    with pytest.raises(CorpusError, match="lacks or repeats some of the steps 1 to 3 that"):
        Metrics(tmp_path, 3)


def test_a_process_that_does_not_write_leaves_no_file(tmp_path):
    silent = Metrics(tmp_path, 0, writes=False)
    silent.write(line(1))
    silent.close()
    assert silent.lines == [line(1)]
    assert list(tmp_path.iterdir()) == []


def test_a_result_is_described_in_one_line():
    summary = {
        "steps": 6,
        "images": 48,
        "train_samples": 16,
        "first_loss": None,
        "last_loss": 0.5,
        "holdout": [{"holdout_loss": 0.25}],
        "skipped_steps": 1,
    }
    assert describe(summary) == (
        "6 steps, 1 of them skipped, 48 images of 16 samples: "
        "loss not finite to 0.500, held-out loss 0.250"
    )


@pytest.mark.slow
def test_without_tensorboard_the_command_that_installs_it_is_told(inputs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(RequestError, match=r"pip install 'nucleus-data\[train\]'"):
        quick_train(str(inputs[0]), tmp_path, settings(inputs[1], tensorboard=True))


@pytest.mark.slow
def test_tensorboard_has_the_metrics(inputs, tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    quick_train(str(inputs[0]), tmp_path, settings(inputs[1], tensorboard=True, router_every=3))
    found = events.EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    losses = [line["loss"] for line in lines(tmp_path / "metrics.jsonl") if "loss" in line]
    assert [event.value for event in found.Scalars("loss")] == pytest.approx(losses)
    assert [event.step for event in found.Scalars("router/1/coverage")] == [3, 6]
    assert len(found.Scalars("holdout_bins/7")) == 2

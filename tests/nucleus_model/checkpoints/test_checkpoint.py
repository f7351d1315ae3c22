import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from nucleus_model.checkpoints.checkpoint import State, load_checkpoint, save_checkpoint
from nucleus_model.checkpoints.exchange import save_transformer
from nucleus_model.network.flow import draw_noise, velocity
from tests.support.model import awake_model


def answer(model):
    noisy = draw_noise(0, "noisy", (2, 12, 4, 6))
    text = draw_noise(0, "text", (2, 8, 32))
    with torch.no_grad():
        return velocity(
            model, noisy, torch.tensor([0.2, 0.7]), model.encode_text(text, None, (2, 3))
        )


def test_a_checkpoint_gives_the_same_output(tmp_path):
    model = awake_model()
    save_checkpoint(tmp_path / "runs" / "000007", model, {"step": 7})
    loaded, record = load_checkpoint(tmp_path / "runs" / "000007")
    assert torch.equal(answer(loaded), answer(model))
    assert record["step"] == 7
    assert not loaded.training


def test_capacity_factors_of_the_last_phase_are_kept(tmp_path):
    model = awake_model()
    model.set_capacity_factors(1.0)
    save_checkpoint(tmp_path / "last", model, {"step": 1})
    loaded, _ = load_checkpoint(tmp_path / "last")
    assert loaded.config.capacity_factors == (0.0, 1.0)
    assert torch.equal(answer(loaded), answer(model))
    model.set_capacity_factors(2.0)
    assert not torch.equal(answer(loaded), answer(model))


def test_nothing_half_written_is_left(tmp_path, monkeypatch):
    folder = tmp_path / "000001"
    save_checkpoint(folder, awake_model(), {"step": 1})
    before = (folder / "model.safetensors").read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", fail)
    for target in (folder, tmp_path / "000002"):
        with pytest.raises(OSError, match="No space"):
            save_checkpoint(target, awake_model(), {"step": 2})
    assert [path.name for path in tmp_path.iterdir()] == ["000001"]
    assert (folder / "model.safetensors").read_bytes() == before


def test_one_of_the_same_name_is_replaced(tmp_path):
    for step in (1, 2):
        save_checkpoint(tmp_path / "last", awake_model(), {"step": step})
    assert load_checkpoint(tmp_path / "last")[1]["step"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o002])
def test_the_umask_says_who_may_read(tmp_path, mask):
    before = os.umask(mask)
    try:
        state = State({"x": torch.zeros(2)}, {"step": 1})
        save_checkpoint(tmp_path / "000001", awake_model(), {"step": 1}, state=state)
        save_transformer(tmp_path / "t", awake_model(), shard_bytes=1000)
    finally:
        os.umask(before)
    for path in (tmp_path / "000001", tmp_path / "t", *tmp_path.glob("*/*")):
        wanted = (0o777 if path.is_dir() else 0o666) & ~mask
        assert path.stat().st_mode & 0o777 == wanted, path


def test_another_format_is_refused(tmp_path):
    (tmp_path / "checkpoint.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(ValueError, match="format 99, but this version reads 2"):
        load_checkpoint(tmp_path)


def edited(**changes):
    """What changes the content of `checkpoint.json`; None takes a key away."""

    def edit(folder):
        content = json.loads((folder / "checkpoint.json").read_text()) | changes
        content = {key: value for key, value in content.items() if value is not None}
        (folder / "checkpoint.json").write_text(json.dumps(content))

    return edit


def of_record(data):
    return lambda folder: (folder / "checkpoint.json").write_bytes(data)


def of_weights(change):
    def edit(folder):
        file = folder / "model.safetensors"
        file.write_bytes(change(file.read_bytes()))

    return edit


def without_a_tensor(folder):
    tensors = load_file(folder / "model.safetensors")
    save_file(dict(list(tensors.items())[1:]), folder / "model.safetensors")


HARM = {
    "no JSON": (of_record(b"{"), r"checkpoint\.json is damaged \(Expecting "),
    "no text": (of_record(b"\xff\0"), r"checkpoint\.json is damaged \('utf-8' codec"),
    "deep": (of_record(b"[" * 9999 + b"]" * 9999), r"checkpoint\.json is damaged \("),
    "a list": (of_record(b"[]"), r"checkpoint\.json is damaged \(it does not hold an object\)"),
    "another format": (edited(format=99), "has the checkpoint format 99, but this version reads 2"),
    "no transformer": (edited(transformer=None), r"damaged \(its 'transformer' is not an object\)"),
    "odd settings": (edited(settings=3), r"damaged \(its 'settings' is not an object\)"),
    "no layers": (edited(transformer={"x": 1}), r"no valid configuration \(.*transformer\.x: Ex"),
    "empty weights": (of_weights(lambda data: b""), r"model\.safetensors is damaged \("),
    "cut weights": (of_weights(lambda data: data[:-99]), r"model\.safetensors is damaged \("),
    "other bytes": (of_weights(lambda data: b"\1" * 999), r"model\.safetensors is damaged \("),
    "a lost tensor": (without_a_tensor, r"model\.safetensors is damaged \("),
}


@pytest.mark.parametrize("harm", HARM)
def test_what_is_damaged_is_named_in_one_line(tmp_path, harm):
    edit, said = HARM[harm]
    save_checkpoint(tmp_path / "000001", awake_model(), {"step": 1})
    edit(tmp_path / "000001")
    with pytest.raises(ValueError, match=said) as told:
        load_checkpoint(tmp_path / "000001")
    assert "\n" not in str(told.value)
    assert str(tmp_path / "000001") in str(told.value)

"""To diffusers and back; `sampling/test_parity.py` says whether what is saved paints the same."""

import json
import shutil

import pytest
import torch

from nucleus_model.checkpoints.exchange import (
    load_transformer,
    pipeline_text,
    read_notes,
    save_pipeline,
    save_transformer,
)
from nucleus_model.encoders.text import TextEncoder
from nucleus_model.settings.text_encoder import TextSettings
from tests.support.model import (
    TOLERANCE,
    difference,
    inputs,
    ours,
    published,
    random_config,
    random_model,
    same_weights,
    theirs,
    write_qwen,
    write_vae,
)
from tests.support.quick import quick


@pytest.mark.parametrize("shard_bytes", quick([1 << 30, 100_000], 1))
def test_diffusers_loads_what_we_save(diffusers, tmp_path, shard_bytes):
    model = random_model()
    model.set_capacity_factors(1.0)
    save_transformer(tmp_path / "t", model, shard_bytes=shard_bytes)
    shards = sorted(tmp_path.glob("t/*.safetensors"))
    assert (
        (len(shards) > 1)
        == (shard_bytes == 100_000)
        == (tmp_path / "t").joinpath("diffusion_pytorch_model.safetensors.index.json").exists()
    )
    assert all(file.stat().st_size < shard_bytes + 10_000 for file in shards)
    loaded = diffusers.NucleusMoEImageTransformer2DModel.from_pretrained(tmp_path / "t")
    assert same_weights(loaded, model)
    given = inputs(model.config)
    assert difference(ours(model, given), theirs(loaded, given)) < TOLERANCE
    back = load_transformer(tmp_path / "t")
    assert (back.config, back.training) == (model.config, False)
    assert same_weights(back, model)
    assert all(parameter.requires_grad for parameter in back.parameters())


@pytest.mark.parametrize("size", ["10GB", "40KB"])
def test_we_load_what_diffusers_saves(tmp_path, size):
    model = random_model(random_config(use_grouped_mm=True))
    published(model).save_pretrained(tmp_path, max_shard_size=size)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (size == "40KB")
    loaded = load_transformer(tmp_path)
    assert loaded.config == model.config
    assert same_weights(loaded, model)


def test_bfloat16_on_the_way_out_and_in(tmp_path):
    model = random_model()
    save_transformer(tmp_path / "t", model, dtype=torch.bfloat16)
    assert {p.dtype for p in load_transformer(tmp_path / "t").parameters()} == {torch.bfloat16}
    loaded = load_transformer(tmp_path / "t", torch.float32)
    assert torch.equal(loaded.img_in.weight, model.img_in.weight.bfloat16().float())
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_wrong_folders_are_refused(tmp_path):
    save_transformer(tmp_path / "t", random_model())
    content = json.loads((tmp_path / "t/config.json").read_text())
    for change, message in [
        ({"_class_name": "Other"}, "must hold a .*, got a 'Other'"),
        ({"num_layers": 3, "capacity_factors": [0.0, 2.0, 2.0]}, "weights do not match config"),
        ({"moe_intermediate_dim": 8}, "size mismatch"),
        ({"surprise": 1}, "surprise"),
    ]:
        (tmp_path / "t/config.json").write_text(json.dumps(content | change))
        with pytest.raises(ValueError, match=message):
            load_transformer(tmp_path / "t")
    with pytest.raises(FileNotFoundError):
        load_transformer(tmp_path / "none")


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    return write_qwen(folder / "qwen", 9, processor=True), write_vae(folder / "vae")


@pytest.mark.slow
def test_a_pipeline_is_there_whole_or_not_at_all(parts, tmp_path, monkeypatch):
    text = TextSettings(model=str(parts[0]))
    other = random_model(random_config(out_channels=16))
    with pytest.raises(ValueError, match="has 4 latent channels, but the transformer has 16"):
        save_pipeline(tmp_path / "p", other, text, str(parts[1]))
    monkeypatch.setattr(
        "transformers.Qwen3VLForConditionalGeneration.save_pretrained", lambda *_: 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        save_pipeline(tmp_path / "p", random_model(), text, str(parts[1]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_pipeline_comes_back_from_diffusers(diffusers, parts, tmp_path):
    """Saved by us, loaded and saved by diffusers, loaded by us."""
    model = random_model()
    text = pipeline_text(tmp_path).model_copy(update={"model": str(parts[0])})
    assert save_pipeline(tmp_path / "ours", model, text, str(parts[1])) == {}
    pipe = diffusers.NucleusMoEImagePipeline.from_pretrained(tmp_path / "ours")
    assert same_weights(pipe.transformer, model)
    assert pipe.processor.tokenizer.padding_side == "right"
    scheduler = pipe.scheduler.config
    assert (scheduler.shift, scheduler.use_dynamic_shifting) == (1.0, False)
    pipe.save_pretrained(tmp_path / "theirs")
    assert same_weights(load_transformer(tmp_path / "theirs"), model)
    assert read_notes(tmp_path / "theirs") == (pipeline_text(tmp_path / "theirs"), None)
    for folder in ("ours", "theirs"):
        index = json.loads((tmp_path / folder / "model_index.json").read_text())
        index.pop("_name_or_path", None)
        shutil.rmtree(tmp_path / folder / "transformer")
        (tmp_path / folder / "index").write_text(json.dumps(index, sort_keys=True))
    assert (tmp_path / "ours/index").read_text() == (tmp_path / "theirs/index").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("state", quick([0, 1, 5, -2, -9], {-2}))
def test_the_state_is_the_one_that_the_pipeline_takes_by_default(diffusers, parts, tmp_path, state):
    """Its tower has nine layers: it gets idle ones, or loses what the pipeline does not use."""
    text = TextSettings(
        model=str(parts[0]), hidden_state=state, max_tokens=1024, system_prompt="Draw."
    )
    assert save_pipeline(tmp_path / "p", random_model(), text, str(parts[1])) == {}
    ours = TextEncoder(text).states("a red square")
    notes, _ = read_notes(tmp_path / "p")
    assert torch.equal(TextEncoder(notes).states("a red square"), ours)
    pipe = diffusers.NucleusMoEImagePipeline.from_pretrained(tmp_path / "p")
    assert pipe.text_encoder.config.text_config.num_hidden_layers == state % 10 + 7
    theirs, mask = pipe.encode_prompt("a red square")
    assert torch.equal(theirs[mask.bool()] if mask is not None else theirs[0], ours)


@pytest.mark.slow
def test_other_text_settings_are_arguments_of_the_call(diffusers, parts, tmp_path):
    text = TextSettings(model=str(parts[0]), hidden_state=-1, max_tokens=64, system_prompt='"{%')
    arguments = save_pipeline(tmp_path / "p", random_model(), text, str(parts[1]), resolution=128)
    assert arguments == {"return_index": -1, "max_sequence_length": 64}
    assert json.loads((tmp_path / "p/nucleus.json").read_text())["call"] == arguments
    notes = text.model_copy(update={"model": str(tmp_path / "p/text_encoder")})
    assert read_notes(tmp_path / "p") == (notes, 128)
    pipe = diffusers.NucleusMoEImagePipeline.from_pretrained(tmp_path / "p")
    template = "<|im_start|>system\n{}<|im_end|>\n<|im_start|>user\na cat<|im_end|>\n{}"
    assert pipe._format_prompt("a cat") == template.format('"{%', "<|im_start|>assistant\n")
    assert pipe._format_prompt("a cat", "Draw.").startswith("<|im_start|>system\nDraw.<|im_end|>")

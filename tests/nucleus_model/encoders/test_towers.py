import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from nucleus_data.errors import RequestError
from nucleus_model.checkpoints.exchange import save_pipeline
from nucleus_model.encoders.text import TextEncoder
from nucleus_model.network.size import model_size
from nucleus_model.settings.settings import QuickTrainSettings
from nucleus_model.settings.text_encoder import TextSettings
from tests.support.model import random_model, write_sentence_encoder, write_vae
from tests.support.quick import quick

KINDS = ("bert", "xlm-roberta")


@pytest.fixture(scope="module", params=KINDS)
def folder(request, tmp_path_factory):
    return write_sentence_encoder(tmp_path_factory.mktemp("sentence"), request.param)


def encoder(folder, **settings):
    return TextEncoder(TextSettings(model=str(folder), **settings))


@pytest.mark.parametrize("state", quick([-3, -2, -1, 0, 1, 2], {-1, 1}))
def test_a_sentence_encoder_gives_the_states_of_the_whole_model(folder, state):
    from transformers import AutoModel

    found = encoder(folder, hidden_state=state)
    whole = AutoModel.from_pretrained(folder)
    ids = torch.tensor([found.tokenizer("a red square")["input_ids"]])
    assert ids[0].tolist() == [1, 4, 5, 6, 2], "the prompt between its special tokens, no template"
    with torch.no_grad():
        states = whole(input_ids=ids, output_hidden_states=True).hidden_states
    assert found.width == 32
    torch.testing.assert_close(found.states("a red square"), states[state][0])
    assert len(found.tower.encoder.layer) == state % 3, "layers that nobody needs"
    assert len(found.states("")) == 2, "the empty prompt is its special tokens"


def test_its_pooler_is_not_warned_of_and_a_missing_weight_is_told(folder, tmp_path, capfd):
    encoder(folder)
    assert capfd.readouterr().err == ""
    torn = tmp_path / "torn"
    shutil.copytree(folder, torn)
    weights = load_file(torn / "model.safetensors")
    name = "encoder.layer.1.output.dense.weight"
    del weights[name]
    save_file(weights, torn / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RequestError, match=f"lacks weights: {name}"):
        encoder(torn)


def test_a_sentence_longer_than_the_positions_is_cut_and_counted(folder):
    found = encoder(folder, hidden_state=-1, max_tokens=256)
    longest = 39 if "xlm" in json.loads((folder / "config.json").read_text())["model_type"] else 40
    assert len(found.states("cat " * 60)) == longest
    assert found.cut == 1


def test_its_size_is_known_without_its_weights(folder, tmp_path):
    text = TextSettings(model=str(folder), hidden_state=-1)
    assert model_size(QuickTrainSettings(text=text)).text_width == 32
    with pytest.raises(RequestError, match="must be -3 to 2"):
        model_size(QuickTrainSettings(text=text.model_copy(update={"hidden_state": 3})))


def test_states_and_types_that_are_not_there_are_refused(folder, tmp_path):
    with pytest.raises(RequestError, match=r"must be -3 to 2 .* got -8"):
        encoder(folder, hidden_state=-8)
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    (other / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(RequestError, match=r"'gpt2'; allowed: qwen3_vl, bert, roberta, xlm"):
        encoder(other)
    with pytest.raises(RequestError, match=r"'gpt2'; allowed: qwen3_vl, bert"):
        model_size(QuickTrainSettings(text=TextSettings(model=str(other))))


def test_a_model_that_was_trained_with_one_is_no_pipeline_of_diffusers(folder, tmp_path):
    vae = write_vae(tmp_path / "vae")
    model = random_model()
    text = TextSettings(model=str(folder), hidden_state=-1)
    with pytest.raises(RequestError, match=r"diffusers' pipeline needs a 'qwen3_vl'"):
        save_pipeline(tmp_path / "out", model, text, str(vae))
    assert not (tmp_path / "out").exists()

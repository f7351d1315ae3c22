import pytest
import torch

from nucleus_data.errors import RequestError
from nucleus_model.encoders import text as text_module
from nucleus_model.encoders.text import TextEncoder, pad_right
from nucleus_model.settings.text_encoder import TextSettings
from tests.support.model import write_qwen
from tests.support.quick import quick


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_qwen(tmp_path_factory.mktemp("qwen"))


def encoder(folder, **settings):
    return TextEncoder(TextSettings(model=str(folder), **settings))


def test_the_template_is_whole_for_the_empty_prompt_too(folder):
    found = encoder(folder, system_prompt="Draw.")
    system = "<|im_start|>system\nDraw.<|im_end|>\n"
    expected = system + "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    assert found.template("a cat") == expected.format("a cat")
    assert found.template("") == expected.format("")
    assert len(found.states("")) == len(
        found.tokenizer(expected.format(""), add_special_tokens=False)["input_ids"]
    )


@pytest.mark.parametrize("state", quick([-3, -2, -1, 0, 1, 2], {-2, 1}))
def test_the_states_are_those_of_the_whole_model(folder, state):
    from transformers import Qwen3VLForConditionalGeneration

    found = encoder(folder, hidden_state=state)
    whole = Qwen3VLForConditionalGeneration.from_pretrained(folder)
    ids = torch.tensor([found.tokenizer(found.template("a red square"))["input_ids"]])
    with torch.no_grad():
        states = whole(input_ids=ids, output_hidden_states=True).hidden_states
    assert len(states) == 3
    assert torch.equal(found.states("a red square"), states[state][0])
    assert len(found.tower.layers) == state % 3, "layers that nobody needs"


def test_a_batch_is_padded_on_the_right_to_a_multiple_of_8(folder):
    found = encoder(folder)
    prompts = ["a red square", "", "a red square and a blue circle"]
    states, mask = found.encode(prompts)
    assert states.shape[:2] == mask.shape
    assert states.shape[1] % 8 == 0
    for row, prompt in enumerate(prompts):
        own = found.states(prompt)
        assert torch.equal(states[row, : len(own)], own)
        assert mask[row].tolist() == [True] * len(own) + [False] * (mask.shape[1] - len(own))
        assert not states[row, len(own) :].any()


def test_padding_is_not_added_where_it_fits():
    states, mask = pad_right([torch.ones(8, 4), torch.ones(3, 4)])
    assert states.shape == (2, 8, 4)
    assert mask.sum(dim=1).tolist() == [8, 3]


def test_a_prompt_is_encoded_once_while_it_is_cached(folder, monkeypatch):
    found = encoder(folder)
    first = found.states("a cat")
    monkeypatch.setattr(found, "tower", None)
    assert found.states("a cat") is first
    with pytest.raises(TypeError):
        found.states("a dog")


def test_the_cache_is_bounded_and_changes_no_value(folder):
    large, small = encoder(folder), encoder(folder, cache_bytes=10_000)
    for prompt in ["a", "b", "a red square", "c", "a"]:
        assert torch.equal(large.states(prompt), small.states(prompt))
    assert 0 < small._states.bytes <= 10_000
    assert len(large._states) == 4


def test_a_long_prompt_is_cut_and_counted(folder):
    found = encoder(folder, max_tokens=100)
    assert len(found.states("red " * 100)) == 100
    found.states("")
    assert found.cut == 1


def test_wrong_folders_and_states_are_refused(folder, tmp_path):
    with pytest.raises(RequestError, match=r"quick_train\.text\.model: .* needs config\.json"):
        encoder(tmp_path)
    with pytest.raises(RequestError, match=r"must be -3 to 2 .* got -8"):
        encoder(folder, hidden_state=-8)


def test_prompts_that_are_encoded_together_have_the_states_of_each_alone(folder, monkeypatch):
    monkeypatch.setattr(text_module, "TOGETHER", 3)
    alone, together = (encoder(folder, hidden_state=-1) for _ in range(2))
    together.together = True
    prompts = ["a red square", "", "a", "a red square", "a long red square beside a red square"]
    asked = []
    monkeypatch.setattr(together, "tower", _counting(together.tower, asked))
    for _ in range(2):
        found, mask = together.encode(prompts)
        wanted, wanted_mask = alone.encode(prompts)
        assert torch.equal(mask, wanted_mask)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert asked == [3, 1], "each once, in batches of like lengths"


def _counting(tower, asked):
    def call(input_ids, **options):
        asked.append(len(input_ids))
        return tower(input_ids=input_ids, **options)

    return call


def test_stored_states_are_taken_once_and_cut_ones_are_counted_as_ever(folder):
    found, asked = encoder(folder), []
    states = torch.ones(3, found.width)

    def stored(prompts):
        asked.extend(prompts)
        return [(states, True) if prompt == "long" else None for prompt in prompts]

    found.stored = stored
    assert torch.equal(found.states("long"), states)
    found.states("long")
    assert torch.equal(found.states("a cat"), encoder(folder).states("a cat"))
    assert (asked, found.cut) == (["long", "a cat"], 1)


def test_an_encoder_for_another_run_counts_by_itself_and_encodes_nothing_twice(folder, monkeypatch):
    first = encoder(folder, max_tokens=100)
    long = "red " * 100
    one = first.afresh()
    states = one.states(long)
    one.stored = lambda prompt: None
    monkeypatch.setattr(first, "tower", None)
    other = one.afresh()
    assert torch.equal(other.states(long), states)
    other.states(long)
    assert (one.cut, other.cut) == (1, 1), "each run counts what it met, once"
    assert other.stored is None
    assert other.afresh().cut == 0

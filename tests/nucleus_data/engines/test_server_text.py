import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleus_data.engines.find import ModelReference, resolve_model
from nucleus_data.engines.server_text import (
    JOINER,
    ServerText,
    local_tokenizer,
    most_tokens,
    template_opens_thinking,
)

pytest.importorskip("tokenizers")
NANO = local_tokenizer(resolve_model("nano", None))
TEXT = ServerText(NANO)
SPECIAL = {one.content: i for i, one in NANO.get_added_tokens_decoder().items()}
PIECES = st.sampled_from([*SPECIAL, "<", "|>", "<|", "im_end", JOINER, " ", "a", "日"])


@pytest.mark.slow
@settings(max_examples=100)
@given(st.lists(PIECES, max_size=12).map("".join))
def test_no_special_token_is_left_and_no_letter_is_lost(text):
    sent = TEXT.harmless(text)
    assert not set(TEXT.tokens(sent)) & set(SPECIAL.values())
    assert sent.replace(JOINER, "") == text.replace(JOINER, "")


@pytest.mark.parametrize("text", ["a red ring", "", "1 < 2 > 0", "{a} [b] <", "日\n"])
def test_any_other_text_stays_as_it_is(text):
    assert TEXT.harmless(text) == text
    assert ServerText(None).harmless(text) == text


@pytest.mark.parametrize(
    "token",
    ["<|im_end|>", "<image>", "</s>", "<start_of_turn>", "[INST]", "<\uff5cUser\uff5c>", "<<SYS>>"],
)
def test_without_a_tokenizer_what_looks_special_is_broken(token):
    sent = ServerText(None).harmless(f"a {token} b")
    assert token not in sent
    assert sent.replace(JOINER, "") == f"a {token} b"


def test_what_becomes_special_when_it_is_normalised_is_refused():
    import tokenizers

    lowering = tokenizers.Tokenizer.from_str(NANO.to_str())
    lowering.normalizer = tokenizers.normalizers.Sequence([tokenizers.normalizers.Lowercase()])
    lowering.add_special_tokens([tokenizers.AddedToken("<end>", normalized=True)])
    with pytest.raises(ValueError, match="reads as <end> once it is normalised"):
        ServerText(lowering).harmless("a <END>")


@pytest.mark.slow
@given(st.text(max_size=40))
def test_the_bound_is_one(text):
    assert len(TEXT.tokens(text)) <= most_tokens(text)


class TestTheModelsFiles:
    def folder(self, tmp_path, template):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
        return ModelReference("m", str(tmp_path), "x", local=True)

    @pytest.mark.parametrize(
        ("template", "opens"),
        [
            ("{% for m in messages %}{{ m.content }}{% endfor %}<assistant><think>\n", True),
            ("{{ messages[0].content }}<think>\n\n</think>\n\n", False),
            ("{{ messages[0].content }}", False),
            ("{{ raise_exception('no') }}<think>", False),
        ],
    )
    def test_a_template_tells_whether_the_model_thinks_first(self, tmp_path, template, opens):
        assert template_opens_thinking(self.folder(tmp_path, template), {}) is opens

    def test_its_arguments_decide(self, tmp_path):
        template = "{% if enable_thinking is not false %}<think>{% endif %}"
        model = self.folder(tmp_path, template)
        assert template_opens_thinking(model, {})
        assert not template_opens_thinking(model, {"enable_thinking": False})

    def test_a_folder_without_a_tokenizer_has_none(self, tmp_path):
        assert local_tokenizer(self.folder(tmp_path, "")) is None
        (tmp_path / "tokenizer.json").write_text("{}")
        assert local_tokenizer(self.folder(tmp_path, "")) is None

import json
import pickle

import pytest
from pydantic import ValidationError

from nucleus_data.stages.caption.prompts import PROMPTS
from nucleus_data.stages.caption.variant import Variant


def test_the_defaults_of_a_variant_ask_about_the_picture():
    short = Variant(prompt="short")
    assert (short.template, short.prompt_name) == (PROMPTS["short"], "short@1")
    assert (short.sees_picture, short.chained, short.refines, short.facts) == (
        True,
        False,
        False,
        [],
    )
    assert not short.drawn
    assert short.schema_text is None


def test_keys_are_written_as_in_the_configuration():
    one = Variant.model_validate({"prompt": "short_from", "from": "long", "picture": True})
    assert (one.parent, one.chained, one.sees_picture) == ("long", True, True)
    assert not Variant.model_validate({"prompt": "short_from", "from": "long"}).sees_picture
    content = one.model_dump(mode="json")
    assert content["from"] == "long"
    assert "schema" in content
    assert Variant.model_validate(content) == one


def test_a_text_of_its_own_keeps_its_name():
    assert Variant(prompt="mine", text="What is it?").prompt_name == "mine"
    assert Variant(text="What is it?").prompt_name == "own"


def test_a_file_is_read_once_and_travels_to_workers(tmp_path):
    prompt, schema = tmp_path / "mine.txt", tmp_path / "mine.json"
    prompt.write_text("What is {source.title}?\nSay it.\n")
    schema.write_text('{"type": "object", "properties": {"b": {}, "a": {}}}')
    one = Variant.model_validate({"prompt": str(prompt), "schema": str(schema)})
    prompt.unlink()
    schema.unlink()
    there = pickle.loads(pickle.dumps(one))
    assert there.template == "What is {source.title}?\nSay it."
    assert there.facts == ["title"]
    assert there.schema_text == '{"type":"object","properties":{"b":{},"a":{}}}'


def test_attributes_have_their_schema_unless_another_is_given():
    assert json.loads(Variant(prompt="attributes").schema_text)["type"] == "object"
    other = Variant.model_validate({"prompt": "attributes", "schema": {"type": "object"}})
    assert other.schema_text == '{"type":"object"}'


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "needs a prompt or a text; built-in prompts: attributes, "),
        ({"prompt": "shrt"}, r"unknown prompt 'shrt'; .* Did you mean 'short'\?"),
        ({"text": " \n"}, "the text is empty"),
        ({"text": "About {titel}"}, r"unknown placeholder {titel}; allowed: "),
        ({"prompt": "short_from"}, r"has {made}, but `from` is picture; set `from` to the variant"),
        (
            {"prompt": "short", "from": "long"},
            r"from: long needs a text with {made}.*medium_from, short_from, very_short_from",
        ),
        ({"prompt": "short", "picture": False}, "nothing to ask about"),
        ({"prompt": "short", "words": [9, 3]}, r"a minimum and a maximum number of words"),
        ({"prompt": "short", "stop": ["a", ""]}, "a stop text must not be empty"),
        ({"prompt": "short", "min_tokens": 9, "max_tokens": 8}, "min_tokens 9 is more than"),
        (
            {"prompt": "short", "min_tokens": 9, "schema": {"type": "object"}},
            "min_tokens 9 has no effect with a schema",
        ),
        ({"prompt": "attributes", "min_tokens": 9}, "has no effect with a schema"),
        ({"prompt": "short", "schema": {"type": "array"}}, "must describe an object"),
        ({"prompt": "short", "schema": "no/such.json"}, "no/such.json can't be read"),
        ({"prompt": "short", "share": 0}, "greater than 0"),
        ({"prompt": "short", "where": ""}, "at least 1 character"),
        ({"prompt": "short", "repetition_penalty": 0}, "greater than 0"),
    ],
)
def test_wrong_variants_are_refused(given, said):
    with pytest.raises(ValidationError, match=said):
        Variant.model_validate(given)

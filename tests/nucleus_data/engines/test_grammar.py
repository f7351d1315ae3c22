import json

import pytest

from nucleus_data.engines.grammar import (
    bounded_grammar,
    check_grammar,
    check_schema,
    follows,
    read_schema,
)
from nucleus_data.errors import RequestError

SCHEMA = {
    "type": "object",
    "properties": {
        "type": {"enum": ["photo", "drawing"]},
        "marks": {"type": "array", "items": {"type": "string", "maxLength": 20}, "maxItems": 3},
    },
    "required": ["type"],
    "additionalProperties": False,
}


class TestReading:
    def test_a_file_and_a_mapping_are_the_same_schema(self, tmp_path):
        file = tmp_path / "schema.json"
        file.write_text(json.dumps(SCHEMA, indent=4))
        assert read_schema(file, "x") == read_schema(SCHEMA, "x")
        assert json.loads(read_schema(str(file), "x")) == SCHEMA

    @pytest.mark.parametrize(
        ("schema", "message"),
        [
            ({"type": "objekt"}, r"variants\.a\.schema: not a valid JSON schema, at \$\.type"),
            ({"type": "object", "required": "type"}, r"at \$\.required"),
            ({"type": "string"}, "must be object or array, got 'string'"),
            ({}, "must be object or array, got None"),
            ({"type": "object", "properties": {"a": {"$ref": "http://h/x"}}}, "another file"),
            ({"type": "object", "default": float("nan")}, "can't be written as JSON"),
            ({"type": "object", "title": "a" * 300_000}, "exceeds the maximum of"),
            ([1], "must be an object, got list"),
        ],
    )
    def test_what_is_no_schema_is_refused(self, schema, message):
        with pytest.raises(RequestError, match=message):
            check_schema(schema, "caption.variants.a.schema")

    def test_a_file_that_can_t_be_read_is_named(self, tmp_path):
        with pytest.raises(RequestError, match=r"none\.json can't be read"):
            read_schema(tmp_path / "none.json", "x")
        (tmp_path / "half.json").write_text('{"type":')
        with pytest.raises(RequestError, match=r"half\.json is not valid JSON"):
            read_schema(tmp_path / "half.json", "x")


class TestFollows:
    @pytest.mark.parametrize("text", ['{"type": "photo"}', '{"type":"drawing","marks":["a"]}'])
    def test_an_answer_that_follows(self, text):
        assert follows(text, json.dumps(SCHEMA)) is None

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ('{"type": "photo"', "no JSON"),
            ("", "no JSON"),
            ('{"type": "photo"} and more', "no JSON"),
            ('```json\n{"type": "photo"}\n```', "no JSON"),
            ('{"type": NaN}', "NaN is not JSON"),
            ('{"type": "photo", "type": "drawing"}', "'type' occurs twice"),
            ('{"type": "foto"}', r"at $.type"),
            ('{"marks": []}', "'type' is a required property"),
            ('{"type": "photo", "x": 1}', "Additional properties"),
            ("[" * 100_000, "no JSON"),
        ],
    )
    def test_one_that_does_not_is_said_why(self, text, why):
        assert why in follows(text, json.dumps(SCHEMA))


@pytest.mark.slow  # they import torch
class TestGrammar:
    """By xgrammar's own matcher, which engines use."""

    def accepts(self, text):
        xgrammar = pytest.importorskip("xgrammar")
        letters = [chr(i) for i in range(32, 127)] + ["\n"]
        info = xgrammar.TokenizerInfo([*letters, "<end>"], stop_token_ids=[len(letters)])
        compiled = xgrammar.GrammarCompiler(info).compile_grammar(
            bounded_grammar(check_schema(SCHEMA, "x"))
        )
        matcher = xgrammar.GrammarMatcher(compiled)
        return matcher.accept_string(text) and matcher.accept_token(len(letters))

    def test_white_space_is_bounded(self):
        assert self.accepts('{"type": "photo", "marks": ["a"]}')
        assert self.accepts('{ "type":\n "photo"}')
        assert not self.accepts('{"type":' + " " * 3 + '"photo"}')
        assert not self.accepts('{"type": "photo"' + "\n" * 50 + "}")

    def test_a_schema_without_a_grammar_is_refused_by_name(self):
        check_grammar(check_schema(SCHEMA, "x"), "x")
        with pytest.raises(
            RequestError, match=r"variants\.a\.schema: the schema can't be turned into a grammar"
        ):
            check_grammar(
                '{"type": "object", "properties": {"a": {"type": "objekt"}}}', "variants.a.schema"
            )

    def test_it_keeps_to_the_schema(self):
        assert not self.accepts('{"type": "foto"}')
        assert not self.accepts('{"marks": []}')

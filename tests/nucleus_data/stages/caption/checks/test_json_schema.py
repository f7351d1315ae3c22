import json

import pytest

from nucleus_data.stages.caption.checks.check import Said
from nucleus_data.stages.caption.checks.json_schema import InvalidJson

SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"type": {"enum": ["photo", "drawing"]}, "words": {"type": "array"}},
        "required": ["type"],
        "additionalProperties": False,
    }
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a red ring",
        '{"type": "photo"',
        '{"type": "painting"}',
        '{"words": []}',
        '{"type": "photo", "more": 1}',
        '{"type": "photo", "type": "drawing"}',
        '{"type": "photo", "words": [NaN]}',
        '```json\n{"type": "photo"}\n```',
        "[" * 100_000,
    ],
)
def test_wrong(text):
    assert InvalidJson().find(Said(text, schema=SCHEMA))


@pytest.mark.parametrize("text", ['{"type": "photo"}', ' {"words": ["a"], "type": "drawing"}\n'])
def test_right(text):
    assert InvalidJson().find(Said(text, schema=SCHEMA)) is None


def test_without_a_schema_anything_goes():
    assert InvalidJson().find(Said("{")) is None


def test_an_answer_nested_too_deep_for_a_schema_that_refers_to_itself_is_wrong():
    schema = json.dumps({"type": "object", "additionalProperties": {"$ref": "#"}})
    assert InvalidJson().find(Said('{"a": {"b": {}}}', schema=schema)) is None
    deep = '{"a":' * 300 + "{}" + "}" * 300
    assert "nested too deep" in InvalidJson().find(Said(deep, schema=schema))

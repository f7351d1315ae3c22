import json
import sys

from nucleus_data.upstream.json_objects import MOST_DEPTH, parsed


def nested(depth):
    return '{"a": ' + "[" * (depth - 1) + "]" * (depth - 1) + "}"


def test_depth_is_ours_and_not_the_stacks():
    assert parsed(nested(MOST_DEPTH)) is not None
    assert parsed(nested(MOST_DEPTH + 1)) is None
    assert parsed('{"a":' * 900 + "1" + "}" * 900) is None
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(3000)
    try:
        assert parsed(nested(MOST_DEPTH + 1)) is None
        assert parsed("[" * 50_000) is None
    finally:
        sys.setrecursionlimit(before)


def test_numbers_that_no_column_holds_are_texts():
    top = (1 << 63) - 1
    for number in (top, -top - 1, 0):
        assert parsed(json.dumps({"n": number})) == {"n": number}
    for digits in (str(top + 1), str(-top - 2), "9" * 10_000):
        assert parsed('{"n": ' + digits + "}") == {"n": digits}

import io

import pytest

from nucleus_data.upstream import lines as module
from nucleus_data.upstream.lines import json_rows, lines


def test_a_line_that_can_t_be_read_costs_itself(monkeypatch):
    monkeypatch.setattr(module, "MOST_LINE", 12)
    data = b"\xef\xbb\xbffirst\n" + b"x" * 20 + b"\n\xff\xfe\n" + b"y" * 12 + b"\nlast"
    found = [(line.number, line.text, bool(line.problem)) for line in lines(io.BytesIO(data))]
    assert found == [
        (1, "first\n", False),
        (2, "x" * 12, True),
        (3, "\\xff\\xfe\n", True),
        (4, "y" * 12, True),
        (5, "last", False),
    ]


def test_utf16_is_refused_whole():
    with pytest.raises(OSError, match="UTF-16"):
        list(lines(io.BytesIO("a\n".encode("utf-16"))))


def test_json_rows_are_objects_or_have_a_problem():
    file = io.BytesIO(b'{"a": 1}\n\n[1]\n{broken\n' + b'{"a":' * 300 + b"1" + b"}" * 300 + b"\n")
    found = [(line.number, line.problem, row) for line, row in json_rows(file)]
    assert found[0] == (1, "", {"a": 1})
    assert [(number, row) for number, _, row in found[1:]] == [(3, {}), (4, {}), (5, {})]
    assert "not a JSON object" in found[1][1]
    assert "nested too deep" in found[3][1]

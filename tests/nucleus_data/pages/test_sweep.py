"""The page of a sweep: its sentence, a line to read quality from, a row a value."""

import json

from nucleus_data.pages.sweep import render_sweep, write_json

BAD = "<script>alert(1)</script>"


def value(kept, mean, low, **changes):
    return {
        "changes": [f"select.rules.a={BAD}"],
        "same": False,
        "kept": kept,
        "a_runs": "own",
        "page": "values/1/verdict.html",
        "word": "better",
        "sentence": "B is better",
        "pictures": {"a": 50, "b": 40},
        "loss": {"a": 1.0, "b": 0.9, "mean": mean, "low": low, "high": 0.1, "direction": 1},
        **changes,
    }


def content(*values, kept=100):
    return {
        "sentence": f"of {len(values)} values",
        "values": list(values),
        "as_it_is": {"set": "sets/a/1", "edition": "2", "kept": kept},
        "preset": "debug",
        "claim": "recipes",
        "about": "these recipes",
    }


def test_values_are_drawn_over_what_they_keep_and_nothing_is_interpreted():
    page = render_sweep(content(value(90, -0.1, -0.2), value(70, 0.1, None, a_runs="values/1")))
    assert "Of 2 values" in page
    assert "records that are kept" in page
    assert page.count('class="mark line-b"') == 2
    assert "unbounded" in page
    assert "the recipe's own runs are those of <code>values/1</code>" in page
    assert "<script" not in page


def test_what_makes_the_same_set_has_a_row_and_no_point():
    same = {"changes": ["select.rules.a=1"], "same": True, "kept": 100}
    page = render_sweep(content(same, value(70, 0.1, 0.0)))
    assert page.count('class="mark line-b"') == 1
    assert "The same pictures and captions" in page
    assert "Nothing to draw" in render_sweep(content(same))
    assert "Nothing to draw" in render_sweep(content(value(None, 0.1, 0.0), kept=None))


def test_a_value_that_can_t_be_compared_has_a_row_with_the_reason():
    empty = {"changes": ["a=1"], "same": False, "kept": 0, "problem": f"no pictures {BAD}"}
    page = render_sweep(content(empty, value(70, 0.1, 0.0)))
    assert page.count('class="mark line-b"') == 1
    assert "no pictures &lt;script&gt;" in page


def test_the_numbers_are_the_same_bytes_each_time(tmp_path):
    for name, found in (("a", {"b": 1, "a": 2}), ("b", {"a": 2, "b": 1})):
        write_json(tmp_path / name, found)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert json.loads((tmp_path / "a").read_text()) == {"a": 2, "b": 1}

"""What is said of a sweep."""

from pathlib import Path

from nucleus_data.views.varied import _sentence, lines


def row(change, word="better", runs="own", kept=5):
    found = {"changes": [f"select.rules.a={change}"], "same": word == "same", "kept": kept}
    if found["same"]:
        return found
    return {**found, "word": word, "sentence": f"B is {word}", "a_runs": runs}


def test_values_are_counted_by_what_was_found():
    rows = [
        row(1),
        row(2, "worse"),
        row(3, "no difference"),
        row(4, "no difference"),
        row(5, "same"),
    ]
    assert _sentence(rows) == (
        "of 5 values: 1 better than the recipe as it is, 1 worse, 2 not told apart from it, "
        "1 the same pictures as it has"
    )


def test_what_was_trained_anew_is_told():
    rows = [row(1), row(2, runs="values/1"), row(3, kept=None), row(4, "same")]
    said = lines({"sentence": "of 4", "about": "these", "values": rows}, Path("out"))
    assert said[1] == "about these"
    assert said[2] == "  select.rules.a=1, 5 kept: B is better"
    assert said[4] == "  select.rules.a=3: B is better"
    assert said[5] == "  select.rules.a=4, 5 kept: the same pictures and captions"
    assert said[6].startswith("the recipe as it is was trained again for select.rules.a=3: comp")
    assert said[7] == "out/sweep.html"
    shared = lines({"sentence": "of 2", "about": "these", "values": rows[:2]}, Path("out"))
    assert not any("anew" in line for line in shared)

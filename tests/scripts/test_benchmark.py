"""What all benchmarks share: the median with its spread, the table, the JSON."""

import json

from scripts.benchmark import measure, publish, table


def test_a_measure_is_the_median_with_its_spread_beside_its_goal():
    met = measure("a", [3.0, 1.0, 2.0], "ms", "<= 2")
    missed = measure("b", [1.66666666], "times", ">= 1.7", "one worker")
    assert (met.value, met.spread, met.rounds, met.met) == (2.0, 2.0, 3, True)
    assert (missed.value, missed.spread, missed.met) == (1.667, 0.0, False)
    assert measure("c", [1.0], "MB").met is None
    lines = table([met, missed]).splitlines()
    assert [line.split()[0] for line in lines] == ["name", "a", "b"]
    assert "met" in lines[1]
    assert "MISSED" in lines[2]
    assert lines[2].endswith("one worker")


def test_the_json_has_the_agreed_keys(tmp_path, capsys):
    publish([measure("a", [1.0, 2.0], "ms", "<= 2")], tmp_path / "rows.json")
    assert json.loads((tmp_path / "rows.json").read_text()) == [
        {
            "name": "a",
            "value": 1.5,
            "unit": "ms",
            "goal": "<= 2",
            "rounds": 2,
            "spread": 1.0,
            "against": None,
        }
    ]
    assert "1.5" in capsys.readouterr().out

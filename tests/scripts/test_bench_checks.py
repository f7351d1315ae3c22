"""The checks on planted answers of the packaged captioner: few, as the bench has 300 of each."""

import sys

import pytest

bench = pytest.importorskip("scripts.bench_checks")
from nucleus_data.stages.caption.checks import KINDS  # noqa: E402

COUNT = 10


@pytest.mark.slow
def test_each_check_finds_what_is_planted_and_little_else(tmp_path, monkeypatch, capsys):
    kept = tmp_path / "answers.jsonl"
    lower = bench.measure_planted(bench._answers(COUNT, "first", kept), show=False)
    assert lower.keys() == {check.name for check in KINDS}
    # Of 10, one may be missed: the interval of 9 of 10 includes 95 %.
    assert min(lower.values()) >= 0.9, lower
    # The command says so if one finds less.
    monkeypatch.setattr(type(bench.CHECKS.refusal), "find", lambda self, said: None)
    words = ["bench_checks", "planted", "--set", "first", "--count", str(COUNT)]
    monkeypatch.setattr(sys, "argv", [*words, "--kept", str(kept)])
    with pytest.raises(SystemExit, match=r"below 95%: .*refusal 0\.0%"):
        bench.main()
    assert "refusal taken for nothing" in capsys.readouterr().out


@pytest.mark.slow
def test_what_stored_vectors_tell():
    header, _, *lines = bench.tables(60)
    found = {
        name: [float(cell.strip().partition("%")[0]) for cell in cells]
        for name, *cells in (line.strip("| ").split("|") for line in lines)
        for name in [name.strip()]
    }
    assert found["true"] == [0.0, 0.0]
    assert min(found["of another picture"]) > 70
    assert max(found["words shuffled"]) < 5
    assert header.count("|") == 4

"""The benchmark of `caption` at its smallest, without the real vLLM (that is slow)."""

import importlib.util
import json

import numpy as np
import pytest
from PIL import Image

from nucleus_data.pixels import open_picture
from scripts import bench_caption
from scripts.bench_caption import Size

TINY = Size(rounds=1, shards=(12, 2), rows=24, size=(96, 64))


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(bench_caption, "QUICK", TINY)
    monkeypatch.setattr(bench_caption, "QUICK_MEMORY", 40)
    monkeypatch.setattr(bench_caption, "PACE_S", 0.002)
    monkeypatch.setattr(bench_caption, "IN_FLIGHT", 8)
    monkeypatch.setattr(bench_caption, "patches", lambda: lambda picture: picture.astype(float))


def rows_of(part, tmp_path):
    path = tmp_path / "rows.json"
    assert bench_caption.main(["--quick", "--part", part, "--json", str(path)]) == 0
    rows = json.loads(path.read_text())
    assert all(np.isfinite(row["value"]) for row in rows)
    return {row["name"]: row["goal"] for row in rows if row["goal"]}


def test_the_pace_is_measured_with_many_and_with_few_rows_a_shard(tiny, tmp_path):
    goals = rows_of("pace", tmp_path)
    assert goals == {f"18 ms a caption, {rows} rows a shard": ">= 0.95" for rows in (12, 2)}


def test_photographs_are_cut_to_size(tmp_path, capsys):
    for name, size in {"large": (90, 70), "small": (90, 40)}.items():
        Image.fromarray(np.zeros((*size[::-1], 3), np.uint8)).save(tmp_path / f"{name}.jpg")
    (file,) = bench_caption.cut_out(tmp_path, (60, 50))
    assert open_picture(file).rgb().shape == (50, 60, 3)
    with pytest.raises(SystemExit, match="no JPEG of at least 100x50 pixels"):
        bench_caption.cut_out(tmp_path, (100, 50))


def test_a_missed_goal_fails_the_command(tiny, monkeypatch):
    rows = [bench_caption.measure("a", [0.5], "times", ">= 0.95")]
    monkeypatch.setattr(bench_caption, "bench", lambda *given, **options: rows)
    assert bench_caption.main([]) == 1
    assert bench_caption.main(["--quick"]) == 0


def test_the_memory_is_measured_over_distinct_pictures(tiny, tmp_path, monkeypatch):
    seen, real = set(), bench_caption.captioned

    def captioned(engine, count, rows, picture, threads):
        def noted(number):
            seen.add(open_picture(picture(number)).rgb().tobytes())
            return picture(number)

        return real(engine, count, rows, noted, threads)

    monkeypatch.setattr(bench_caption, "captioned", captioned)
    assert list(rows_of("memory", tmp_path).values()) == ["<= 100"]
    assert len(seen) == 40


def test_the_pace_leaves_both_ends_out():
    moments = [0.0] * 15 + [1 + n / 10 for n in range(70)] + [100.0] * 15
    assert bench_caption.pace(moments) == pytest.approx(10)


def test_full_size_is_what_the_goals_are_about():
    size = Size()
    assert size.size[0] * size.size[1] > 2e6
    assert (size.shards, size.distinct, size.settled) == ((600, 2), 20_000, 4_000)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")
def test_the_stage_is_measured_beside_bare_vllm(tmp_path):
    import subprocess
    import sys
    from pathlib import Path

    path = tmp_path / "rows.json"
    command = ["-m", "scripts.bench_caption", "--quick", "--part", "bare", "--json", str(path)]
    subprocess.run([sys.executable, *command], cwd=Path(__file__).parents[2], check=True)
    rows = {row["name"]: row for row in json.loads(path.read_text())}
    assert rows["vision encodes of a picture with three variants"]["value"] == 1
    assert rows["processor time, stage over bare"]["goal"] == "<= 1.08"

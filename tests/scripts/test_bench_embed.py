"""The benchmark of `embed` at its smallest, with a model of no weights."""

import json

import numpy as np
import pytest

from nucleus_data.pixels import open_picture
from scripts import bench_embed
from scripts.bench_embed import Size, StandIn
from tests.support.embedded import FakeClip


@pytest.fixture
def model(monkeypatch):
    made = FakeClip(4)
    monkeypatch.setattr(bench_embed, "load_clip", lambda *given: made)
    monkeypatch.setattr(bench_embed, "STAND_IN_BATCH", 2)
    return made


@pytest.mark.slow
def test_every_row_has_its_value(model, tmp_path, capsys):
    assert bench_embed.main(["--quick", "--json", str(tmp_path / "rows.json")]) == 0
    rows = json.loads((tmp_path / "rows.json").read_text())
    goals = {row["name"]: row["goal"] for row in rows if row["goal"]}
    assert goals == {
        "model thread, stage over bare": "<= 1.08",
        "2 ms model, stage over pool": ">= 0.9",
        "scaled decode, 1 - cosine with the full one": "<= 0.01",
    }
    assert all(np.isfinite(row["value"]) for row in rows)


def test_the_probe_says_what_batches_cost(model, monkeypatch, capsys):
    monkeypatch.setattr(bench_embed, "PROBED", (4,))
    assert bench_embed.main(["--probe", "--model", "nano"]) == 0
    said = capsys.readouterr().out
    assert "pictures, batches of 4" in said
    assert "texts, batches of 4" in said


def test_the_pictures_are_jpegs_of_the_size_and_no_two_are_equal():
    files = bench_embed.photographs(2, (64, 48))
    assert files[0] != files[1]
    header = open_picture(files[0]).header
    assert (header.format, header.width, header.height) == ("jpeg", 64, 48)
    assert Size().size[0] * Size().size[1] > 2e6


def test_the_stand_in_takes_its_time_and_makes_the_real_one_s_pixels():
    standing = StandIn(FakeClip(4))
    assert standing.batch == bench_embed.STAND_IN_BATCH
    assert bench_embed.timed(bench_embed.now, lambda: standing.start_images(None)) >= 0.002

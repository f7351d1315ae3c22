"""The runner's benchmark at its smallest, its rows, and the recipe that it stands beside."""

import json
import socket
from pathlib import Path

import pytest
import yaml

from nucleus_data.line.recipe import Recipe, load_recipe
from nucleus_data.stages.inspect.stage import InspectSettings
from nucleus_data.stages.select.rules import check_rules
from scripts import bench_runner
from scripts.bench_runner import Bench, Idle, IdleReader, NoSettings, Size
from scripts.benchmark import measure, publish, table
from scripts.benchmark_corpus import make_corpus, pictures

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


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


def test_the_corpus_is_one_that_the_library_reads(tmp_path):
    images = pictures(3, 64)
    corpus = make_corpus(tmp_path / "c", 2, images)
    assert corpus.shards() == [0, 1]
    bench = Bench(corpus, 2)
    rows = list(bench.job(IdleReader(NoSettings())).open(1).rows())
    assert [row.image for row in rows] == images
    first, second = bench.job(Idle(NoSettings())), bench.job(Idle(NoSettings()))
    assert first.tables["idle"] != second.tables["idle"]  # no round finds the work done


@pytest.mark.slow
def test_the_plain_loop_measures_what_inspect_does(tmp_path, ray_cluster):
    corpus = make_corpus(tmp_path / "c", 1, pictures(2, 64))
    bench = Bench(corpus, 1)
    bench.plain(InspectSettings(), tmp_path / "plain")
    bench.run(bench_runner.Inspect(InspectSettings()), 1)
    for name in InspectSettings().signals:
        columns = "* EXCLUDE (error)"
        ours = corpus.table(f"inspect.{name}").project(columns).order("row").fetchall()
        plain = corpus.connection().read_parquet(str(tmp_path / f"plain/{name}-0.parquet"))
        assert plain.project(columns).order("row").fetchall() == ours
        assert len(ours) == 2


@pytest.mark.slow
def test_every_row_with_and_without_a_goal(tmp_path, ray_cluster):
    size = Size(shards=2, images=2, idle_rounds=2, real_rounds=1, tiny=20)
    rows = bench_runner.run(size, tmp_path)
    assert [row.goal for row in rows if row.goal] == ["<= 100"] * 2 + ["<= 1.10", ">= 1.7", "<= 20"]
    negative = [row for row in rows if row.value < 0 and "growth" not in row.name]
    assert negative == []
    assert len({row.name for row in rows}) == len(rows) == 14


@pytest.fixture
def full(monkeypatch) -> Recipe:
    """The full recipe, read where no network can be reached."""

    def refuse(*_: object) -> None:
        raise AssertionError("the recipe asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return load_recipe(CONFIGS / "full/recipe.yaml")


@pytest.mark.slow
def test_the_full_recipe_needs_no_network_to_be_read_and_hashed(full):
    hashes = full.table_hashes()
    captions = [f"caption.{name}" for name in ("very_short", "short", "medium", "long")]
    assert set(captions) < set(hashes)
    assert len(set(hashes.values())) == len(hashes)
    assert len(full.caption.revision or "") == 40  # a commit, not a branch
    assert {f"caption.{name}" for name in full.shard.captions} == {"caption.source", *captions}
    assert {v.presence_penalty for v in full.caption.variants.values()} == {1.5}


def test_the_full_rules_are_those_of_nano_with_thresholds_for_photos(full):
    nano = load_recipe(CONFIGS / "nano/recipe.yaml")
    ours, theirs = full.select.rules, nano.select.rules
    assert [rule.name for rule in check_rules(full.select, full.catalog(), [])] == list(theirs)
    tuned = {"too_small", "over_compressed", "too_dark", "too_bright", "blurred", "framed"}
    assert {name for name in ours if ours[name].where != theirs[name].where} == tuned
    assert all(ours[name].action == theirs[name].action for name in ours)
    assert ours["too_small"].where == "least(width, height) < 256"


def test_the_full_recipe_has_every_key_of_nano(full):
    content = yaml.safe_load((CONFIGS / "full/recipe.yaml").read_text())
    nano = yaml.safe_load((CONFIGS / "nano/recipe.yaml").read_text())
    assert set(content) <= set(Recipe.model_fields)
    for section, values in nano.items():
        assert set(values) <= set(content[section]), section

"""The runner's benchmark at its smallest, and its rows."""

import pytest

from nucleus_data.stages.inspect.stage import InspectSettings
from nucleus_data.world.corpora import repeated_corpus, scene_jpegs
from scripts import bench_runner
from scripts.bench_runner import Bench, Idle, IdleReader, NoSettings, Size


def test_the_corpus_is_one_that_the_library_reads(tmp_path):
    images = scene_jpegs(3, 64)
    corpus = repeated_corpus(tmp_path / "c", 2, images)
    assert corpus.shards() == [0, 1]
    bench = Bench(corpus, 2)
    rows = list(bench.job(IdleReader(NoSettings())).open(1).rows())
    assert [row.image for row in rows] == images
    first, second = bench.job(Idle(NoSettings())), bench.job(Idle(NoSettings()))
    assert first.tables["idle"] != second.tables["idle"]  # no round finds the work done


@pytest.mark.slow
def test_the_plain_loop_measures_what_inspect_does(tmp_path, ray_cluster):
    corpus = repeated_corpus(tmp_path / "c", 1, scene_jpegs(2, 64))
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
@pytest.mark.alone
def test_every_row_with_and_without_a_goal(tmp_path, ray_cluster):
    size = Size(shards=2, images=2, idle_rounds=2, real_rounds=1, tiny=20)
    rows = bench_runner.run(size, tmp_path)
    assert [row.goal for row in rows if row.goal] == ["<= 100"] * 2 + ["<= 1.10", ">= 1.7", "<= 20"]
    negative = [row for row in rows if row.value < 0 and "growth" not in row.name]
    assert negative == []
    assert len({row.name for row in rows}) == len(rows) == 14

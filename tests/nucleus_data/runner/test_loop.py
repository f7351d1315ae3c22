"""The runner on a real local Ray: outcomes, deaths, hangs, guarded shards, actors, retries."""

import pytest

from nucleus_data.world.corpora import small_corpus
from tests.support.on_ray import ALL, SLOW, job, run, values


@pytest.mark.parametrize(
    ("actors", "hold"),
    [(0, 0), (2, 3), pytest.param(2, 0, marks=SLOW), pytest.param(0, 3, marks=SLOW)],
)
def test_every_row_once_in_order(tmp_path, ray_cluster, actors, hold):
    corpus = small_corpus(tmp_path / "c")
    report = run(job(corpus, hold=hold), 3, actors=actors, num_cpus=0.5)
    assert (report.summary.done, report.shards, report.failed) == (15, 3, [])
    assert values(corpus, 3) == ALL
    again = run(job(corpus), 3)
    assert (again.summary.already, again.summary.done) == (15, 0)


def test_an_exception_fails_the_shard_with_its_traceback(tmp_path, ray_cluster):
    corpus = small_corpus(tmp_path / "c", shards=2)
    report = run(job(corpus, poison="raise"), 2)
    assert [f.number for f in sorted(report.failed, key=lambda f: f.number)] == [0, 1]
    assert "ZeroDivisionError" in report.failed[0].error
    assert "in poisoned" in report.failed[0].traceback
    assert values(corpus, 2) == [[], []]

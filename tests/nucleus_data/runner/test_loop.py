"""The runner on a real local Ray: outcomes, deaths, hangs, guarded shards, actors, retries."""

import pytest

from nucleus_data.world.corpora import small_corpus
from tests.support.on_ray import ALL, job, run, values

# Ray takes some eight seconds to start and to end; `test_inline` and `test_local` ask the same.
pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("actors", "hold"), [(0, 0), (2, 3), (2, 0), (0, 3)])
def test_every_row_once_in_order(tmp_path, ray_cluster, actors, hold):
    corpus = small_corpus(tmp_path / "c")
    report = run(job(corpus, hold=hold), 3, actors=actors, num_cpus=0.5)
    assert (report.summary.done, report.shards, report.failed) == (15, 3, [])
    assert values(corpus, 3) == ALL
    again = run(job(corpus), 3)
    assert (again.summary.already, again.summary.done) == (15, 0)


@pytest.mark.parametrize("actors", [0, 1])
def test_a_row_on_which_the_stage_raises_costs_itself(tmp_path, ray_cluster, actors):
    corpus = small_corpus(tmp_path / "c", shards=1)
    report = run(job(corpus, poison="raise"), 1, actors=actors)
    assert report.failed == []
    assert (report.summary.failed, report.summary.retryable) == ({"stage_raised": 1}, 1)
    assert [row for row, _, _ in values(corpus, 1)[0]] == [0, 1, 2, 4]
    assert run(job(corpus, retry=True), 1).summary.done == 1

import pytest

from nucleus_data.runner.actor import SetupFailedError
from nucleus_data.world.corpora import small_corpus
from tests.support.on_ray import SLOW, job, run


@SLOW
def test_a_setup_that_fails_ends_the_run(tmp_path, ray_cluster):
    corpus = small_corpus(tmp_path / "c", shards=1)
    for actors in (0, 1):
        with pytest.raises(SetupFailedError, match="the model is not there"):
            run(job(corpus, poison="no_setup"), 1, actors=actors)


@SLOW
def test_a_stage_that_can_t_go_on_ends_the_run(tmp_path, ray_cluster):
    corpus = small_corpus(tmp_path / "c", shards=1)
    for actors in (0, 1):
        with pytest.raises(SetupFailedError, match="all servers are down"):
            run(job(corpus, poison="stop"), 1, actors=actors)


@SLOW
def test_no_model_is_loaded_when_nothing_is_left_to_do(tmp_path, ray_cluster):
    corpus = small_corpus(tmp_path / "c")
    run(job(corpus), 3)
    report = run(job(corpus, poison="no_setup"), 3, actors=1)
    assert (report.summary.already, report.shards, report.failed) == (15, 3, [])

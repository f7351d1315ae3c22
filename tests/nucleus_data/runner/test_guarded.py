import pytest

from nucleus_data.corpus.tables import Table
from nucleus_data.runner.actor import SetupFailedError
from nucleus_data.runner.guarded import RAISED_AFRESH, _GuardedStage, run_guarded
from nucleus_data.runner.work import Item, Resources
from nucleus_data.world.corpora import small_corpus
from tests.support.on_ray import HASH, SLOW, job, run, values


@pytest.mark.slow
@pytest.mark.parametrize("actors", [0, 1])
def test_an_image_that_kills_its_worker_costs_itself(tmp_path, ray_cluster, actors):
    corpus = small_corpus(tmp_path / "c", shards=1)
    report = run(job(corpus, poison="kill"), 1, actors=actors)
    assert report.failed == []
    assert report.deaths >= 2
    assert report.summary.failed == {"killed_sigkill": 1}
    assert [row for row, _, _ in values(corpus, 1)[0]] == [0, 1, 2, 4]
    failed = Table(corpus.store, "length", HASH).failed.read(0).to_pylist()
    assert [(f["row"], f["reason"], f["detail"]) for f in failed] == [
        (3, "killed_sigkill", "in the poisoned part")
    ]


@SLOW
def test_a_shard_whose_guarded_workers_die_too_fails_alone(tmp_path, ray_cluster):
    from nucleus_data.runner.loop import Loop  # it imports Ray

    corpus = small_corpus(tmp_path / "c", shards=2)
    report = Loop("length", job(corpus, poison="kill_worker"), Resources()).run(
        [Item(0), Item(1, limit=2)]
    )
    assert [f.number for f in report.failed] == [0]
    assert "its worker died 4 times" in report.failed[0].error
    assert report.summary.done == 2


@pytest.mark.slow
@pytest.mark.parametrize("actors", [0, 1])
def test_an_image_that_hangs_its_worker_costs_itself(tmp_path, ray_cluster, actors):
    corpus = small_corpus(tmp_path / "c", shards=1)
    report = run(job(corpus, poison="hang", timeout=2.0), 1, actors=actors)
    assert report.summary.failed == {"killed_timeout": 1}
    assert report.summary.done == 4


@pytest.mark.slow
def test_an_image_that_takes_too_much_memory_costs_itself(tmp_path, ray_cluster):
    from nucleus_data.runner.loop import Loop

    corpus = small_corpus(tmp_path / "c", shards=1)
    work = job(corpus, poison="bloat", memory=512 << 20)
    item = Item(0, deaths=2)
    report = Loop("length", work, Resources()).run([item])
    assert report.summary.failed == {"killed_memory": 1}
    assert report.summary.done == 4


@pytest.mark.slow
def test_a_row_on_which_the_stage_raises_fails_for_now(tmp_path):
    corpus = small_corpus(tmp_path / "c", shards=1)
    summary = run_guarded(job(corpus, poison="raise"), 0, None)
    assert (summary.done, summary.failed, summary.retryable) == (4, {"stage_raised": 1}, 1)
    assert [row for row, _, _ in values(corpus, 1)[0]] == [0, 1, 2, 4]
    failed = Table(corpus.store, "length", HASH).failed.read(0).to_pylist()
    assert [(f["row"], f["reason"], f["detail"]) for f in failed] == [
        (3, "stage_raised", "ZeroDivisionError: in the stage")
    ]


@pytest.mark.slow
def test_a_stage_that_can_t_go_on_ends_the_run(tmp_path):
    corpus = small_corpus(tmp_path / "c", shards=1)
    with pytest.raises(SetupFailedError, match="all servers are down"):
        run_guarded(job(corpus, poison="stop"), 0, None)


@pytest.mark.slow
def test_a_stage_that_raised_is_set_up_anew_but_not_for_ever(tmp_path):
    corpus = small_corpus(tmp_path / "c", shards=1)
    work = job(corpus, poison="raise")
    rows = list(work.open(0).rows())
    child, children = _GuardedStage(work), []
    for row in [rows[3]] * (RAISED_AFRESH + 2) + [rows[0], rows[3], rows[0]]:
        child.process(row)
        children.append(child.child and child.child.pid)
    assert children[:RAISED_AFRESH] == [None] * RAISED_AFRESH, "ended after it raised"
    last = children[RAISED_AFRESH]
    assert last is not None
    assert children[RAISED_AFRESH:] == [last, last, last, None, children[-1]]
    assert children[-1] not in (None, last)
    child.close()

"""The runner on a real local Ray: outcomes, deaths, hangs, guarded shards, actors, retries."""

import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import Table
from nucleus_data.hashing import config_hash
from nucleus_data.runner.actor import SetupFailedError
from nucleus_data.runner.loop import Loop
from nucleus_data.runner.rows import StageJob
from nucleus_data.runner.work import Item, Resources
from nucleus_data.world.corpora import small_corpus
from tests.support.stages import Length, Nothing

HASH = config_hash("length")
SLOW = pytest.mark.slow


def job(
    corpus: Corpus, retry=False, timeout=30.0, memory=8 << 30, sample=1.0, **settings
) -> StageJob:
    stage = Length(Nothing(**settings))
    return StageJob(
        corpus.uri, {}, stage, {"length": HASH, "records": "x"}, sample, retry, timeout, memory
    )


def run(work: StageJob, shards: int, **resources):
    return Loop("length", work, Resources(**resources)).run(Item(n) for n in range(shards))


def values(corpus: Corpus, shards: int) -> list[list]:
    table = Table(corpus.store, "length", HASH)
    found = []
    for shard in range(shards):
        part = table.read(shard)
        found.append(
            [] if part is None else [(r["row"], r["bytes"], r["error"]) for r in part.to_pylist()]
        )
    return found


ALL = [[(i, 80, None) for i in range(5)] for _ in range(3)]


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


def test_a_final_failure_is_a_row_and_is_not_done_again(tmp_path, ray_cluster):
    corpus = small_corpus(tmp_path / "c")
    report = run(job(corpus, poison="fail"), 3)
    assert report.summary.failed == {"bad_luck": 3}
    assert values(corpus, 3)[0][3] == (3, None, "bad_luck")
    assert run(job(corpus), 3).summary.done == 0


@SLOW
def test_a_passing_failure_waits_for_retry(tmp_path, ray_cluster):
    corpus = small_corpus(tmp_path / "c")
    assert run(job(corpus, poison="fail_for_now"), 3).summary.retryable == 3
    assert [len(v) for v in values(corpus, 3)] == [4, 4, 4]
    assert run(job(corpus), 3).summary.done == 0
    assert run(job(corpus, retry=True, poison="fail_for_now"), 3).summary.retryable == 3
    assert run(job(corpus, retry=True), 3).summary.done == 3
    assert [sorted(v) for v in values(corpus, 3)] == ALL
    assert run(job(corpus, retry=True), 3).summary.rows == 15


@pytest.mark.parametrize("actors", [0, pytest.param(1, marks=SLOW)])
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
    corpus = small_corpus(tmp_path / "c", shards=1)
    work = job(corpus, poison="bloat", memory=512 << 20)
    item = Item(0, deaths=2)
    report = Loop("length", work, Resources()).run([item])
    assert report.summary.failed == {"killed_memory": 1}
    assert report.summary.done == 4


def test_an_exception_fails_the_shard_with_its_traceback(tmp_path, ray_cluster):
    corpus = small_corpus(tmp_path / "c", shards=2)
    report = run(job(corpus, poison="raise"), 2)
    assert [f.number for f in sorted(report.failed, key=lambda f: f.number)] == [0, 1]
    assert "ZeroDivisionError" in report.failed[0].error
    assert "in poisoned" in report.failed[0].traceback
    assert values(corpus, 2) == [[], []]


@SLOW
def test_a_setup_that_fails_ends_the_run(tmp_path, ray_cluster):
    corpus = small_corpus(tmp_path / "c", shards=1)
    for actors in (0, 1):
        with pytest.raises(SetupFailedError, match="the model is not there"):
            run(job(corpus, poison="no_setup"), 1, actors=actors)


@pytest.mark.slow
def test_a_changed_tar_is_an_error(tmp_path, ray_cluster):
    corpus = small_corpus(tmp_path / "c", shards=2)
    tar = tmp_path / "c/images/000001.tar"
    data = bytearray(tar.read_bytes())
    data[512] ^= 1
    tar.write_bytes(data)
    report = run(job(corpus), 2)
    assert report.summary.done == 5
    assert "000001.tar changed" in report.failed[0].error
    tar.write_bytes(bytes(data) + b"more")
    assert "bytes, it had" in run(job(corpus), 2).failed[0].error
    tar.unlink()
    assert "000001.tar is missing" in run(job(corpus), 2).failed[0].error


@SLOW
def test_limit_and_sample_choose_the_same_rows_every_time(tmp_path, ray_cluster):
    corpus = small_corpus(tmp_path / "c", shards=4, images=50)
    work = job(corpus, sample=0.25)
    first = Loop("length", work, Resources()).run(Item(n) for n in range(4))
    assert 20 < first.summary.done < 80
    assert Loop("length", work, Resources()).run(Item(n) for n in range(4)).summary.done == 0
    limited = Loop("length", job(corpus), Resources()).run([Item(0, 7)])
    assert limited.summary.rows == 7
    assert [r for r, _, _ in values(corpus, 1)[0]][:7] == list(range(7))


@SLOW
def test_no_model_is_loaded_when_nothing_is_left_to_do(tmp_path, ray_cluster):
    corpus = small_corpus(tmp_path / "c")
    run(job(corpus), 3)
    report = run(job(corpus, poison="no_setup"), 3, actors=1)
    assert (report.summary.already, report.shards, report.failed) == (15, 3, [])

import pytest

from nucleus_data.runner.work import Item, Resources
from nucleus_data.world.corpora import small_corpus
from tests.support.on_ray import ALL, SLOW, job, run, values


@SLOW
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


@pytest.mark.slow
@SLOW
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
    assert "bytes, but had" in run(job(corpus), 2).failed[0].error
    tar.unlink()
    assert "000001.tar is missing" in run(job(corpus), 2).failed[0].error


@SLOW
def test_limit_and_sample_choose_the_same_rows_every_time(tmp_path, ray_cluster):
    from nucleus_data.runner.loop import Loop  # it imports Ray

    corpus = small_corpus(tmp_path / "c", shards=4, images=50)
    work = job(corpus, sample=0.25)
    first = Loop("length", work, Resources()).run(Item(n) for n in range(4))
    assert 20 < first.summary.done < 80
    assert Loop("length", work, Resources()).run(Item(n) for n in range(4)).summary.done == 0
    limited = Loop("length", job(corpus), Resources()).run([Item(0, 7)])
    assert limited.summary.rows == 7
    assert [r for r, _, _ in values(corpus, 1)[0]][:7] == list(range(7))

import re
from pathlib import Path

import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.errors import RequestError
from nucleus_data.world.corpora import small_corpus, write_shard
from tests.support import curated
from tests.support.clustered import source
from tests.support.curated import picture


@pytest.mark.slow
def test_a_corpus_that_was_measured_otherwise_is_refused(corpus, release):
    run = curated.run(
        corpus.uri, "dedup", f"dedup.against.old={release.uri}", "inspect.max_pixels=9"
    )
    with pytest.raises(RequestError, match=r"dedup.against.old: .* was not measured with the same"):
        run.do("dedup")
    with pytest.raises(
        RequestError, match=r"^dedup\.against\.old: there is no corpus at 'nowhere'"
    ):
        curated.run(corpus.uri, "dedup", "dedup.against.old=nowhere").do("dedup")


@pytest.mark.slow
@pytest.mark.parametrize("records", [2_000_000, 2])
def test_a_corpus_that_was_measured_in_part_is_refused(corpus, release, records):
    write_shard(release, 1, {"c.png": picture(3, (66, 44)), "d.png": picture(5)})
    curated.run(release.uri, "inspect")
    curated.run(release.uri, "inspect", limit=3).do("inspect")
    against = f"dedup.against={{old: '{release.uri}'}}"
    few, said = f"dedup.partition_records={records}", []
    run = curated.run(corpus.uri, "dedup", against, few, said=said)
    wanted = "1 of 2 images of shard 000001 .* are not in its table inspect.file/"
    if records == 2:  # tasks say it one by one
        run.do("dedup")
        assert run.failed_shards == 1
        assert re.search(wanted, run.failures[0]["error"])
        assert "run the same command again" in said[-1]
        assert "nucleus retry" not in said[-1]  # which does no failures of this stage again
    else:
        with pytest.raises(RequestError, match=wanted):
            run.do("dedup")


def test_a_corpus_is_not_compared_with_itself(corpus, monkeypatch):
    monkeypatch.chdir(Path(corpus.uri).parent)
    for uri in (corpus.uri, Path(corpus.uri).name):
        with pytest.raises(RequestError, match=r"me: .* is the corpus itself"):
            curated.run(corpus.uri, "dedup", f"dedup.against.me={uri}").do("dedup")


def test_records_are_counted_whichever_shards_have_them(tmp_path):
    made = small_corpus(tmp_path / "c", shards=0)
    for shard, count in enumerate((1, 40, 1)):
        write_shard(made, shard, {f"{shard}/{i}.bin": bytes([shard, i]) for i in range(count)})
    assert source(made).records() == 42
    part = Path(made.store.path(f"{made.records.folder}/000001-0.parquet"))
    part.write_bytes(part.read_bytes()[:-20])  # the task that reads it says so
    assert source(Corpus(made.uri)).records() == 2

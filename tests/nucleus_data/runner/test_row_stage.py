import json

import pytest

from nucleus_data.corpus.tables import Table
from nucleus_data.corpus.tar_names import tar_name
from tests.support import curated
from tests.support.stepped import stage_lines, three_shards


@pytest.fixture
def corpus(tmp_path):
    return three_shards(tmp_path / "c")


def test_a_shard_that_fails_is_told_kept_and_done_again(corpus):
    store = corpus.store
    tar = store.read(tar_name(1))
    store.remove(tar_name(1))
    said = []
    made = curated.run(corpus.uri, "inspect", said=said)
    made.do("inspect")
    assert made.failed_shards == 1
    assert "inspect: 4 rows, 4 done, 1 SHARDS FAILED" in said[0]
    assert "shard 000001 failed: CorpusError: " in said[1]
    assert "images/000001.tar is missing" in said[1]
    assert f"nucleus retry corpus={corpus.uri}" in "\n".join(said)
    (failure,) = [json.loads(x) for x in store.read(made.path("failures.jsonl")).splitlines()]
    assert (failure["stage"], failure["shard"]) == ("inspect", 1)
    assert stage_lines(made)[0]["failed_shards"] == 1

    said.clear()
    curated.run(corpus.uri, "retry", said=said, dry_run=True).retry("inspect")
    assert said == ["inspect: 1 shard that failed"]
    again = curated.run(corpus.uri, "retry")
    again.retry("inspect")  # the tar is still away
    assert again.failed_shards == 1
    store.create(tar_name(1), tar)
    last = curated.run(corpus.uri, "retry")
    assert last.folder.newest_failed_shards("inspect") == [1]
    last.retry("inspect")
    assert (last.failed_shards, last.lines[-1]["done"]) == (0, 2)
    assert curated.run(corpus.uri, "retry").folder.newest_failed_shards("inspect") == []


def test_nothing_to_retry_needs_nothing_else(corpus):
    said = []
    made = curated.run(corpus.uri, "retry", said=said)
    made.retry("inspect")
    made.retry("caption")  # there is no selection
    assert said == ["inspect: nothing to retry", "caption: nothing to retry"]


def test_rows_that_failed_for_now_are_retried_and_no_others(corpus):
    tables = curated.recipe(corpus.uri).pins().tables
    lost = corpus.records.read(1, ("shard", "row", "id")).slice(1, 1)
    lost = lost.append_column("reason", [["killed_sigkill"]])
    for name in ("inspect.file", "inspect.hash"):
        Table(corpus.store, name, tables[name]).failed.append(1, lost, {})
    curated.run(corpus.uri, "inspect")
    curated.run(corpus.uri, "inspect").do("inspect")
    assert len(curated.table(corpus, "inspect.hash", tables["inspect.hash"])) == 5
    said = []
    curated.run(corpus.uri, "retry", said=said, dry_run=True).retry("inspect")
    assert said == ["inspect: 1 row to retry, in 1 shard"]
    assert len(curated.table(corpus, "inspect.hash", tables["inspect.hash"])) == 5
    made = curated.run(corpus.uri, "retry")
    made.retry("inspect")
    assert [(line["shards"], line["done"]) for line in made.lines] == [(1, 1)]
    assert len(curated.table(corpus, "inspect.hash", tables["inspect.hash"])) == 6
    said = []
    curated.run(corpus.uri, "retry", said=said).retry("inspect")
    assert said == ["inspect: nothing to retry"]

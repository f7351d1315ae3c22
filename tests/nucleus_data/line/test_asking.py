import duckdb
import pytest

from nucleus_data.corpus.looking import going_without
from nucleus_data.line.asking import RunWorkers
from nucleus_data.pages import tables as module
from nucleus_data.pages import write_report
from tests.support.curated import CuratedRun
from tests.support.dealt import dealt
from tests.support.reported import NOON, whole_corpus


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Ten records in three shards, of which each is a piece."""
    monkeypatch.setattr(module, "SHARDS_HERE", 1)
    monkeypatch.setattr(module, "SHARDS_A_PIECE", 1)
    return dealt(whole_corpus(tmp_path / "corpus"), tmp_path / "dealt", 3)


def page(made, corpus, run=None):
    workers = run and RunWorkers(run.run, run.stages["report"], corpus)
    try:
        write_report(corpus, "first", made.tables, training_set=None, made_at=NOON, workers=workers)
    finally:
        if workers:
            workers.clear()
    return corpus.store.read("runs/first/report.html")


@pytest.mark.slow
def test_the_workers_of_a_run_give_the_same_page_and_leave_nothing(made):
    run = CuratedRun(made.corpus.uri, "report")
    assert page(made, made.corpus, run) == page(made, made.corpus)
    left = made.corpus.store.find(run.path("_asked"))
    assert [*left] == []


@pytest.mark.slow
def test_a_page_goes_without_a_part_that_a_worker_cannot_read(made):
    name = f"tables/inspect.tone/{made.tables['inspect.tone']}/000001-0.parquet"
    made.corpus.store.put(name, b"damaged")
    run = CuratedRun(made.corpus.uri, "report")
    with pytest.raises(duckdb.Error, match="report: "):
        page(made, made.corpus, run)
    found = going_without(made.corpus, lambda corpus: (page(made, corpus, run), corpus.left_out))
    assert [error.name for error in found[1]] == [name]
    assert found[0] == page(made, made.corpus.without(found[1]))

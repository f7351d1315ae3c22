from nucleus_data.world.corpora import small_corpus
from tests.support import curated


def test_the_page_is_written_without_a_selection_and_says_so(tmp_path):
    corpus = small_corpus(tmp_path / "c", shards=1)
    said = []
    run = curated.run(corpus.uri, "report", said=said)
    run.do("report")
    assert said[0].startswith("report: no selection is shown (")
    page = corpus.store.url(f"runs/{run.name}/report.html")
    assert said[-1] == f"report: {page}"
    assert corpus.store.read(f"runs/{run.name}/report.html").startswith(b"<!doctype html>")


def test_a_selection_is_shown_though_the_set_cannot_be_made(tmp_path):
    corpus = small_corpus(tmp_path / "c", shards=1)
    curated.inspect(corpus)
    rules = ("select.rules={}", "select.drop_duplicates=false")
    curated.run(corpus.uri, "select", *rules).do("select")
    said = []
    run = curated.run(corpus.uri, "report", *rules, "shard.captions=[nobodys]", said=said)
    run.do("report")
    assert said[0].startswith("report: no training set and captions are shown (")
    page = corpus.store.read(f"runs/{run.name}/report.html").decode()
    assert "nothing is selected yet" not in page


def test_a_dry_run_writes_no_page(tmp_path):
    corpus = small_corpus(tmp_path / "c", shards=1)
    said = []
    curated.run(corpus.uri, "report", said=said, dry_run=True).do("report")
    assert said == ["report: one page"]
    assert corpus.runs() == []

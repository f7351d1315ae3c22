import pytest

from nucleus_data.errors import RequestError
from nucleus_data.stages.select.ledger import LedgerTask
from nucleus_data.stages.select.stage import published_selection
from nucleus_data.world.corpora import small_corpus, write_shard
from tests.support import curated
from tests.support.curated import picture
from tests.support.stepped import BARE, curate, three_shards


@pytest.fixture
def corpus(tmp_path):
    return three_shards(tmp_path / "c")


def test_a_run_needs_a_corpus(tmp_path):
    with pytest.raises(RequestError, match="corpus is not set; give corpus=PATH"):
        curated.run("''", "inspect")
    with pytest.raises(RequestError, match="no corpus at"):
        curated.run(tmp_path / "c", "inspect")


def test_a_relative_corpus_is_refused_inside_a_ray_job_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small_corpus(tmp_path / "c", shards=1)
    assert curated.run("c", "inspect").name
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    with pytest.raises(RequestError, match=r"corpus='c' is a relative path, which in a Ray job"):
        curated.run("c", "inspect")
    assert curated.run(tmp_path / "c", "inspect").name


def test_ingest_needs_a_source(corpus):
    with pytest.raises(RequestError, match=r"ingest.source is not set; give ingest.source=PATH"):
        curated.run(corpus.uri, "ingest").do("ingest")


@pytest.mark.slow
def test_a_whole_selection_after_a_limited_inspection_waits_for_the_rest(corpus):
    limited = curated.run(corpus.uri, "inspect", limit=3)
    limited.do("inspect")
    made = curated.run(corpus.uri, "select")  # with the laptop's rules, some of them on text
    made.do("dedup")
    states = made.select()
    assert made.failures == []
    assert (states["kept"], states["pending"]) == (3, 3)
    assert made.lines[-1]["extra"]["pending_on:inspect.file"] == 3


@pytest.mark.slow
def test_select_needs_the_pairs_of_the_tables_as_they_are(corpus):
    made = curated.run(corpus.uri, "select", BARE)
    made.do("inspect")
    with pytest.raises(RequestError, match=r"select needs the pairs .* run: nucleus dedup corpus="):
        made.select()
    made.do("dedup")
    made.select()
    write_shard(corpus, 3, {"copy.png": picture(0)})
    later = curated.run(corpus.uri, "select", BARE)
    later.do("inspect")
    with pytest.raises(RequestError, match="select needs the pairs of the current tables"):
        later.select()  # the pairs of before would let the copy through
    later.do("dedup")
    assert later.select()["duplicate"] == 1


def test_signals_that_a_stage_needs_are_asked_for(corpus):
    tone = "inspect.signals=[tone]"
    with pytest.raises(RequestError, match="needs the signal groups 'file' and 'hash'"):
        curated.run(corpus.uri, "dedup", BARE, tone).do("dedup")
    bare = ("select.drop_duplicates=false", "select.prefer=[]")
    with pytest.raises(RequestError, match="select needs the signal group 'file'"):
        curated.run(corpus.uri, "select", BARE, tone, *bare).select()
    with pytest.raises(RequestError, match=r"select.prefer\[0\]: .* that no table has"):
        curated.run(corpus.uri, "select", BARE, tone).select()


@pytest.mark.slow
def test_wrong_rules_stop_before_any_shard(corpus):
    made, _ = curate(corpus)
    for rule, reason in (
        ("widht < 3", "Did you mean 'width'"),
        ("length(width) < 3", "does not fit the types of its columns"),
        ("width = 'wide'", "does not fit the types of its columns"),
        ("source.nothing = ''", "Available: source.caption"),
    ):
        wrong = curated.run(corpus.uri, "select", f"select.rules.r={rule}")
        with pytest.raises(RequestError, match=reason):
            wrong.select()
        assert wrong.lines == []
    assert corpus.config_hashes("selection") == [made.tables["selection"]]


@pytest.mark.slow
def test_a_selection_of_which_a_shard_failed_is_not_published(corpus, monkeypatch):
    made = curated.run(corpus.uri, "select", BARE)
    made.do("inspect")
    made.do("dedup")
    work = LedgerTask.run

    def broken(self, number):
        if number == 1:
            raise OSError("away")
        return work(self, number)

    monkeypatch.setattr("nucleus_data.stages.select.plan.SHARDS_A_TASK", 1)
    monkeypatch.setattr(LedgerTask, "run", broken)
    assert made.select() == {}
    assert made.failed_shards == 1
    assert published_selection(corpus.store, made.tables["selection"]) is None
    with pytest.raises(RequestError, match="no selection"):
        curated.run(corpus.uri, "shard", BARE).do("shard")
    monkeypatch.undo()
    assert curated.run(corpus.uri, "select", BARE).select()["kept"] == 6


def test_a_ledger_that_does_not_add_up_is_never_published(corpus, monkeypatch):
    made = curated.run(corpus.uri, "select", BARE)
    made.do("inspect")
    made.do("dedup")
    monkeypatch.setattr("nucleus_data.stages.select.stage.has_pairs", lambda *_: True)
    monkeypatch.setattr("nucleus_data.stages.select.stage.drop_duplicates", lambda *_: 1)
    with pytest.raises(AssertionError, match="the ledger does not add up: 6 records"):
        made.select()
    assert published_selection(corpus.store, made.tables["selection"]) is None


@pytest.mark.slow
def test_captions_need_a_selection(corpus):
    with pytest.raises(RequestError, match=r"no selection .* run: nucleus select"):
        curated.run(corpus.uri, "caption", dry_run=True).do("caption")
    curate(corpus)
    said = []
    curated.run(corpus.uri, "caption", BARE, dry_run=True, said=said).do("caption")
    assert said[0] == "caption: 6 rows, 0 already done, 6 to do"
    assert said[-1].startswith("  total: 12 captions, ")

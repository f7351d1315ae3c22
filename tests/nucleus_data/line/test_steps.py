import json

import pytest

from nucleus_data.corpus.images import tar_name
from nucleus_data.corpus.tables import Table
from nucleus_data.errors import RequestError
from nucleus_data.stages.dedup.rows import PAIRS
from nucleus_data.stages.select.ledger import LedgerTask
from nucleus_data.stages.select.stage import published_selection
from nucleus_data.world.corpora import small_corpus, write_shard
from tests.support import curated
from tests.support.curated import picture

BARE = "select.rules={}"


@pytest.fixture
def corpus(tmp_path):
    """Three shards of two pictures with web captions, nothing measured."""
    made = small_corpus(tmp_path / "c", shards=0)
    for shard in range(3):
        images = {f"{shard}-{i}.png": picture(10 * shard + i) for i in range(2)}
        write_shard(made, shard, images, {key: f"picture {key}" for key in images})
    return made


def curate(corpus, *overrides, **options):
    made = curated.run(corpus.uri, "curate", BARE, *overrides, **options)
    made.do("inspect", "dedup")
    return made, made.select()


def stage_lines(run):
    text = run.corpus.store.read(run.path("stages.jsonl"))
    return [json.loads(line) for line in text.splitlines()]


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
    with pytest.raises(RequestError, match=r"corpus='c' is relative, and this is a Ray job"):
        curated.run("c", "inspect")
    assert curated.run(tmp_path / "c", "inspect").name


def test_runs_of_one_moment_have_names_of_their_own(corpus):
    names = [curated.run(corpus.uri, "inspect").name for _ in range(20)]
    assert len(set(names)) == 20
    assert corpus.runs() == sorted(names)


def test_a_run_pins_what_it_used(corpus):
    made, states = curate(corpus, "storage_options={auto_mkdir: true}")
    assert states["kept"] == 6
    made.do("shard")
    plan = json.loads(corpus.store.read(made.path("plan.json")))
    assert plan["run"] == made.name
    assert plan["command"] == "curate"
    assert plan["tables"] == made.tables
    assert plan["tables"]["inspect.file"] == made.recipe.pins().tables["inspect.file"]
    assert {"dedup", "selection"} < set(plan["tables"])
    assert plan["set"] == made.training_set
    assert plan["config"] == json.loads(json.dumps(made.recipe.public()))
    assert plan["config"]["storage_options"] == ["auto_mkdir"]
    assert (plan["limit"], plan["sample"]) == (None, 1.0)
    lines = stage_lines(made)
    assert [line["stage"] for line in lines] == ["inspect", "dedup", "select", "shard"]
    assert [(line["rows"], line["done"], line["already"]) for line in lines] == [(6, 6, 0)] * 4


def test_ingest_needs_a_source(corpus):
    with pytest.raises(RequestError, match=r"ingest.source is not set; give ingest.source=PATH"):
        curated.run(corpus.uri, "ingest").do("ingest")


@pytest.mark.slow
def test_a_limit_is_over_all_shards_and_so_is_what_follows(corpus):
    made, states = curate(corpus, limit=3)
    assert made.lines[0]["rows"] == 3
    assert states == {"kept": 3, "rejected": 0, "duplicate": 0, "failed": 0, "pending": 0}
    rows = curated.table(corpus, "selection", made.tables["selection"])
    assert [(row["shard"], row["row"]) for row in rows] == [(0, 0), (0, 1), (1, 0)]
    made.do("shard")
    assert made.lines[-1]["done"] == 3
    curated.run(corpus.uri, "look", BARE, dry_run=True, limit=3).use_selection()
    with pytest.raises(RequestError, match="no selection"):
        curated.run(corpus.uri, "look", BARE, dry_run=True).use_selection()
    limited = curated.run(corpus.uri, "caption", BARE, limit=3)
    limited.use_selection()
    job = limited.job("caption")
    assert [job.open(shard).summary.rows for shard in range(3)] == [2, 1, 0]


@pytest.mark.slow
def test_a_limited_selection_after_a_whole_inspection(corpus):
    curate(corpus)
    made = curated.run(corpus.uri, "select", BARE, limit=1)
    made.do("dedup")
    assert made.select()["kept"] == 1
    assert made.failures == []


def test_a_whole_selection_after_a_limited_inspection_waits_for_the_rest(corpus):
    limited = curated.run(corpus.uri, "inspect", limit=3)
    limited.do("inspect")
    made = curated.run(corpus.uri, "select")  # with the laptop's rules, some of them on text
    made.do("dedup")
    states = made.select()
    assert made.failures == []
    assert (states["kept"], states["pending"]) == (3, 3)
    assert made.lines[-1]["extra"]["pending_on:inspect.file"] == 3


def test_a_sample_takes_the_same_records_in_every_stage(corpus):
    made, states = curate(corpus, sample=0.5)
    rows = curated.table(corpus, "selection", made.tables["selection"])
    assert 0 < len(rows) == made.lines[0]["rows"] == sum(states.values()) < 6
    again, _ = curate(corpus, sample=0.5)
    assert [line["already"] for line in again.lines if line["stage"] != "dedup"] == [len(rows)] * 2


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
    with pytest.raises(RequestError, match="select needs the pairs of the tables as they are now"):
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
    with pytest.raises(RequestError, match=r"select.prefer\[0\]: .* which no table has"):
        curated.run(corpus.uri, "select", BARE, tone).select()


@pytest.mark.slow
def test_wrong_rules_stop_before_any_shard(corpus):
    made, _ = curate(corpus)
    for rule, reason in (
        ("widht < 3", "Did you mean 'width'"),
        ("length(width) < 3", "does not fit its columns"),
        ("width = 'wide'", "does not fit its columns"),
        ("source.nothing = ''", "Known: source.caption"),
    ):
        wrong = curated.run(corpus.uri, "select", f"select.rules.r={rule}")
        with pytest.raises(RequestError, match=reason):
            wrong.select()
        assert wrong.lines == []
    assert corpus.config_hashes("selection") == [made.tables["selection"]]


def test_a_shard_that_fails_is_told_kept_and_done_again(corpus):
    store = corpus.store
    tar = store.read(tar_name(1))
    store.remove(tar_name(1))
    said = []
    made = curated.run(corpus.uri, "inspect", said=said)
    made.do("inspect")
    assert made.failed_shards == 1
    assert "inspect: 4 rows, 4 done, 1 SHARDS FAILED" in said[0]
    assert "shard 000001 failed: CorpusError: images/000001.tar is missing" in said[1]
    assert f"nucleus retry corpus={corpus.uri}" in said[2]
    (failure,) = [json.loads(x) for x in store.read(made.path("failures.jsonl")).splitlines()]
    assert (failure["stage"], failure["shard"]) == ("inspect", 1)
    assert stage_lines(made)[0]["failed_shards"] == 1

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
    made = curated.run(corpus.uri, "retry")
    made.retry("inspect")
    assert [(line["shards"], line["done"]) for line in made.lines] == [(1, 1)]
    assert len(curated.table(corpus, "inspect.hash", tables["inspect.hash"])) == 6
    said = []
    curated.run(corpus.uri, "retry", said=said).retry("inspect")
    assert said == ["inspect: nothing to retry"]


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
    monkeypatch.setattr(
        "nucleus_data.stages.select.stage.read_pairs", lambda *_: PAIRS.empty_table()
    )
    monkeypatch.setattr("nucleus_data.stages.select.stage.walk_duplicates", lambda *_: 1)
    with pytest.raises(AssertionError, match="the ledger does not add up: 6 records"):
        made.select()
    assert published_selection(corpus.store, made.tables["selection"]) is None


def test_captions_need_a_selection(corpus):
    with pytest.raises(RequestError, match=r"no selection .* run: nucleus select"):
        curated.run(corpus.uri, "caption", dry_run=True).do("caption")
    curate(corpus)
    said = []
    curated.run(corpus.uri, "caption", BARE, dry_run=True, said=said).do("caption")
    assert said == ["caption: 6 rows, 0 done before, 6 to do"]


def test_a_later_run_takes_over_what_earlier_ones_say_of_their_stages(corpus):
    first, _ = curate(corpus)
    second = curated.run(corpus.uri, "shard", BARE)
    second.do("shard")
    second.folder.inherit(("inspect", "dedup", "select", "shard"))
    lines = stage_lines(second)
    assert [line["stage"] for line in lines] == ["inspect", "dedup", "select", "shard"]
    assert lines[0] == first.lines[0]

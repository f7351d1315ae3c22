"""Column stages: a shard's rows in one piece, and the same bytes as row by row."""

import pyarrow as pa
import pytest

from nucleus_data.corpus.tables import Table, table_schema
from nucleus_data.errors import CorpusError
from nucleus_data.hashing import config_hash
from nucleus_data.runner.guarded import run_guarded
from nucleus_data.runner.inline import InlineLoop
from nucleus_data.runner.local import LocalLoop, LocalWorker
from nucleus_data.runner.rows import StageJob
from nucleus_data.runner.words import describe
from nucleus_data.runner.work import Item, Resources
from nucleus_data.world.corpora import small_corpus, write_shard
from tests.support.curated import picture
from tests.support.quick import quick
from tests.support.stages import Shout, ShoutSettings

NAMES = ("shout.length", "shout.loud")
HASHES = {name: config_hash(name) for name in (*NAMES, "before")}
CAPTIONS = ("a boat", "EEL", "no", "a cat", "YES")


@pytest.fixture
def corpus(tmp_path):
    """One shard of five captions; `before` has rows of three of them, one of which failed."""
    made = small_corpus(tmp_path / "c", shards=0)
    images = {f"{i}.png": picture(i, (12, 12)) for i in range(len(CAPTIONS))}
    write_shard(made, 0, images, dict(zip(images, CAPTIONS, strict=True)))
    before(made, 0, 1, 3)
    return made


def before(corpus, *rows):
    """Writes rows of the table that `shout.loud` needs; that of row 1 is a failure."""
    schema = table_schema(pa.schema([("value", pa.float32())]))
    keys = corpus.records.read(0, ["shard", "row", "id"]).to_pylist()
    values = [
        {**keys[row], **({"error": "broken"} if row == 1 else {"value": row / 4})} for row in rows
    ]
    table = Table(corpus.store, "before", HASHES["before"])
    table.append(0, pa.Table.from_pylist(values, schema), {})


def job(corpus, *, retry=False, sample=1.0, **settings):
    tables = {**HASHES, "records": corpus.records.config_hash}
    stage = Shout(ShoutSettings(**settings))
    return StageJob(corpus.uri, {}, stage, tables, sample, retry, 60.0)


def run(work, limit=None):
    return InlineLoop("shout", work, Resources()).run([Item(0, limit)])


def stored(corpus, name):
    found = Table(corpus.store, name, HASHES[name]).read(0)
    return {} if found is None else {r.pop("row"): r for r in found.to_pylist()}


def parts(tmp_path):
    folder = tmp_path / "c/tables"
    files = [p for name in NAMES for p in folder.glob(f"{name}/**/*.parquet")]
    return {p.relative_to(folder): p.read_bytes() for p in files}


def test_rows_that_lack_the_same_are_computed_in_one_piece(corpus):
    work = job(corpus)
    report = run(work)
    assert sorted(work.stage.asked) == [
        (2, ["shout.length"]),
        (3, ["shout.length", "shout.loud"]),
    ]
    assert [row["letters"] for row in stored(corpus, "shout.length").values()] == [6, 3, 2, 5, 3]
    loud = stored(corpus, "shout.loud")
    assert list(loud) == [0, 1, 3]
    assert [(r["loud"], r["value"], r["error"]) for r in loud.values()] == [
        (False, 0.0, None),
        (None, None, "broken"),
        (False, 0.75, None),
    ]
    summary = report.summary
    assert (summary.rows, summary.done, summary.failed) == (5, 5, {"broken": 1})
    assert (summary.tables["shout.loud"].rows, summary.tables["shout.loud"].done) == (3, 2)


def test_a_row_waits_until_what_it_needs_is_there(corpus):
    assert "2 waiting for before" in describe(run(job(corpus)))
    before(corpus, 2)
    work = job(corpus)
    report = run(work)
    assert work.stage.asked == [(1, ["shout.loud"])]
    assert (report.summary.already, report.summary.done) == (4, 1)
    assert list(stored(corpus, "shout.loud")) == [0, 1, 2, 3]
    assert run(job(corpus)).summary.done == 0


@pytest.mark.parametrize("how", quick(["halves", "guarded", "local"], 1))
def test_rows_alone_give_the_same_bytes(corpus, tmp_path, how):
    run(job(corpus))
    whole = parts(tmp_path)
    assert len(whole) == len(NAMES)
    for path in whole:
        (tmp_path / "c/tables" / path).unlink()
    if how == "halves":
        run(job(corpus, alone=True))
    elif how == "guarded":
        run_guarded(job(corpus), 0, None)
    else:
        worker = LocalWorker()
        try:
            LocalLoop(worker, "shout", job(corpus), Resources(actors=1)).run([Item(0)])
        finally:
            worker.close()
    assert parts(tmp_path) == whole


def test_a_row_on_which_the_stage_raises_fails_alone_and_is_retried(corpus):
    report = run(job(corpus, poison="EEL"))
    assert (report.summary.done, report.summary.failed) == (4, {"stage_raised": 1})
    assert report.summary.retryable == 1
    assert list(stored(corpus, "shout.length")) == [0, 2, 3, 4]
    assert run(job(corpus, poison="EEL")).summary.done == 0
    assert run(job(corpus, retry=True)).summary.done == 1
    assert stored(corpus, "shout.length")[1]["letters"] == 3


def test_a_limit_and_a_sample_choose_among_what_is_due(corpus):
    assert run(job(corpus), limit=2).summary.rows == 2
    assert list(stored(corpus, "shout.length")) == [0, 1]
    sampled = run(job(corpus, sample=0.5)).summary.rows
    assert sampled < len(CAPTIONS)


def test_columns_that_are_not_the_table_s_are_refused(corpus, monkeypatch):
    work = job(corpus)
    monkeypatch.setattr(
        Shout, "compute", lambda *_: {name: pa.table({"other": [1]}) for name in NAMES}
    )
    report = run(work)
    assert CorpusError.__name__ in report.failed[0].error
    assert "expected 2 rows of ['letters'], got 1 of ['other']" in report.failed[0].error


@pytest.mark.slow
def test_ray_s_tasks_give_the_same_bytes_whatever_is_asked_for(corpus, tmp_path, ray_cluster):
    from nucleus_data.runner.loop import Loop  # it imports Ray

    run(job(corpus))
    whole = parts(tmp_path)
    for path in whole:
        (tmp_path / "c/tables" / path).unlink()
    report = Loop("shout", job(corpus), Resources(actors=2)).run([Item(0)])
    assert report.summary.done == len(CAPTIONS)
    assert not report.setup_seconds  # no actor was there to be set up
    assert parts(tmp_path) == whole

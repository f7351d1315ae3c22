"""Which of equal copies stays: the one with the higher score, where there are scores."""

from pathlib import Path

import pyarrow as pa
import pytest

from nucleus_data.corpus.tables import Table, table_schema
from nucleus_data.views.pairs import show_pairs
from nucleus_data.world.corpora import small_corpus, write_shard
from tests.support import curated
from tests.support.curated import picture
from tests.support.embedded import heads_folder, model_folder
from tests.support.quick import quick
from tests.support.reported import Text


@pytest.fixture
def corpus(tmp_path):
    """Two equal files, and a picture with a smaller copy."""
    made = small_corpus(tmp_path / "c", shards=0)
    images = {"a.png": picture(1), "b.png": picture(1), "c.png": picture(2)}
    write_shard(made, 0, {**images, "d.png": picture(2, (192, 128))})
    curated.inspect(made)
    return made


@pytest.fixture
def settings(tmp_path):
    heads_folder(tmp_path / "heads", revision=model_folder(tmp_path / "clip"))
    return (
        f"embed.model={tmp_path / 'clip'}",
        f"score.heads={tmp_path / 'heads'}",
        "select.rules={}",
        "select.tiers={score: a * 2, bounds: [0]}",
    )


def survivor(run):
    """The key of the copy that is kept, and its page of pairs."""
    assert run.select()["duplicate"] == 2
    keys = {r["id"]: r["key"] for r in run.corpus.records.read(0).to_pylist()}
    rows = curated.table(run.corpus, "selection", run.tables["selection"])
    states = {keys[row["id"]]: row["state"] for row in rows}
    *_, url = show_pairs(run.run, run.stages["dedup"], run.stages["select"], 3)
    (kept,) = [key for key in ("a.png", "b.png") if states[key] == "kept"]
    return kept, Text(Path(url).read_text()).text


def scored(run, scores):
    """Writes scores of the head `a`: key -> number."""
    records = run.corpus.records.read(0, ["shard", "row", "id", "key"]).to_pylist()
    schema = table_schema(pa.schema([("a", pa.float32()), ("b", pa.float32())]))
    rows = [
        {**{k: r[k] for k in ("shard", "row", "id")}, "a": scores[r["key"]], "b": 0.25}
        for r in records
        if r["key"] in scores
    ]
    table = Table(run.corpus.store, "embed.heads", run.tables["embed.heads"])
    table.append(0, pa.Table.from_pylist(rows, schema), {})


@pytest.mark.slow
@pytest.mark.parametrize("nothing", quick([None, float("nan")], 1))
def test_of_equal_copies_that_with_the_higher_score_stays(corpus, settings, nothing):
    run = curated.run(corpus.uri, "select", *settings)
    run.do("dedup")
    first, _ = survivor(run)  # nobody waits for a score
    other = {"a.png": "b.png", "b.png": "a.png"}[first]
    scored(run, {first: 1.0 if nothing is None else nothing, other: 1.5})
    again = curated.run(corpus.uri, "select", *settings)
    kept, page = survivor(again)
    assert kept == other
    told = "1.5" if nothing is not None else "its score is higher: 3 against 2"
    assert told in page


@pytest.mark.slow
def test_a_copy_without_a_score_comes_after_one_that_has_one(corpus, settings):
    run = curated.run(corpus.uri, "select", *settings)
    run.do("dedup")
    first, _ = survivor(run)
    other = {"a.png": "b.png", "b.png": "a.png"}[first]
    scored(run, {other: -4.0})
    kept, page = survivor(curated.run(corpus.uri, "select", *settings))
    assert kept == other
    assert "its score is higher: -8 against no value" in page


@pytest.mark.slow
def test_the_page_shows_each_copy_s_quality_and_scores(corpus, settings):
    run = curated.run(corpus.uri, "select", *settings)
    run.do("dedup")
    scored(run, {"a.png": 1.0})
    run.do("compare")
    _, page = survivor(run)
    assert "rank 1 · quality" in page
    assert "a 1 · b 0.25" in page
    plain = curated.run(corpus.uri, "select", "embed.model=null", "select.rules={}")
    plain.do("dedup")
    _, page = survivor(plain)
    assert "quality" in page
    assert "a 1" not in page


def test_without_a_score_of_vectors_the_order_and_its_selection_are_as_before(corpus, settings):
    plain = curated.run(corpus.uri, "select", "embed.model=null", "select.rules={}")
    plain.do("dedup")
    plain.select()
    by_signal = "select.tiers={score: luma_mean, bounds: [0]}"
    other = curated.run(corpus.uri, "select", "embed.model=null", "select.rules={}", by_signal)
    orders = [run.stages["select"].decisions(run).prefer for run in (plain, other)]
    assert [o.text for o in orders[0]] == [o.text for o in orders[1]]

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.runs import RunFolder
from nucleus_data.corpus.tables import Table
from nucleus_data.views.status import status as status_of
from nucleus_data.views.status_lines import status_lines
from nucleus_data.world.corpora import small_corpus
from tests.support import curated
from tests.support.looked_at import RULES, look


def status(made):
    return status_of(made.run, made.stages)


def test_the_status_counts_what_is_there(made):
    content = status(look(made))
    assert (content["records"], content["shards"], content["several_writers"]) == (24, 2, True)
    file = content["tables"]["inspect.file"]
    assert file == {
        "config_hash": made.made.tables["inspect.file"],
        "rows": 24,
        "failed": 1,
        "failed_retryable": 0,
        "missing": 0,
    }
    lying = {t for t in made.store.list("tables") if t not in ("records", "selection")}
    assert set(content["tables"]) == lying
    assert "caption.short" not in content["tables"]
    assert content["other_tables"] == []
    assert content["left_out"] == content["unfinished_sets"] == []
    states = {"kept": 21, "rejected": 1, "duplicate": 1, "failed": 1, "pending": 0}
    assert content["selections"] == {made.made.tables["selection"]: states}
    assert content["training_sets"] == [made.made.training_set]
    assert content["runs"] == [made.made.name]
    assert json.loads(json.dumps(content)) == content
    lines = "\n".join(status_lines(content))
    assert "24 records in 2 image shards" in lines
    assert "21 kept, 1 rejected, 1 duplicate, 1 failed (of the current tables and rules" in lines
    assert "24 rows, 1 of them failed" in lines
    assert f"last run             {made.made.name}: did inspect, dedup, select, shard" in lines
    assert "retry" not in lines
    assert "one writer" not in lines


def test_the_status_lists_what_lies_there_of_other_configurations_too(tmp_path):
    corpus = small_corpus(tmp_path, shards=1, images=2)
    rows = corpus.records.read(0, ("shard", "row", "id"))
    for name, hashed in (("mine", "aa"), ("inspect.file", "bb"), ("selection", "cc")):
        Table(corpus.store, name, hashed).append(0, rows, {})
    corpus.store.create("sets/main/dd/_plan/x", b"")
    content = status(look(corpus))
    assert content["tables"] == {}
    there = [(t["table"], t["config_hash"], t["rows"]) for t in content["other_tables"]]
    assert there == [("inspect.file", "bb", 2), ("mine", "aa", 2), ("selection", "cc", 2)]
    assert content["unfinished_sets"] == ["sets/main/dd"]
    text = "\n".join(status_lines(content))
    assert "2 rows (not finished)" in text
    assert "sets/main/dd (not finished)" in text
    assert "caption" not in text


def test_the_status_tells_what_is_not_done(tmp_path):
    corpus = small_corpus(tmp_path, shards=2, images=3)
    for number in range(4):
        corpus.store.create(f"claims/{number:06d}.parquet", b"")
    tables = curated.recipe(corpus.uri).pins().tables
    rows = corpus.records.read(0, ("shard", "row", "id"))
    lost = rows.append_column("reason", [["killed_sigkill"] * 3])
    Table(corpus.store, "inspect.file", tables["inspect.file"]).failed.append(0, lost, {})
    corpus.store.put("corpus.json", b'{"format": 1, "several_writers": false}')
    content = status(look(corpus))
    assert content["tables"]["inspect.file"]["failed_retryable"] == 3
    lines = "\n".join(status_lines(content))
    assert "2 claimed shards are not yet ingested; run: nucleus ingest corpus=" in lines
    assert "0 rows, 3 more failed temporarily, 3 images not done yet" in lines
    assert f"to retry temporary failures, run: nucleus retry corpus={corpus.uri}" in lines
    assert "one writer at a time" in lines
    Table(corpus.store, "inspect.file", tables["inspect.file"]).append(0, rows.slice(0, 2), {})
    content = status(look(corpus))
    assert content["tables"]["inspect.file"]["failed_retryable"] == 1


def test_no_retry_is_told_that_would_find_nothing(tmp_path):
    corpus = small_corpus(tmp_path, shards=1, images=2)
    rows = corpus.records.read(0, ("shard", "row", "id"))
    lost = rows.append_column("reason", [["killed_sigkill"] * 2])
    Table(corpus.store, "inspect.file", "of another configuration").failed.append(0, lost, {})
    lines = "\n".join(status_lines(status(look(corpus))))
    assert "0 rows, 2 more failed temporarily (of another configuration)" in lines
    assert "nucleus retry" not in lines


def test_records_without_an_image_are_told(tmp_path):
    corpus = small_corpus(tmp_path, shards=1, images=3)
    records = corpus.records.read(0)
    for name, values in (("error", ["http_503", None, "http_404"]), ("retryable", [1, 0, 0])):
        field = records.schema.field(name)
        column = pa.array(values).cast(field.type)
        records = records.set_column(records.column_names.index(name), field, column)
    part = corpus.records.store.path(f"{corpus.records.folder}/000000-0.parquet")
    footer = next(iter(corpus.records.metadata(0)))
    Path(part).unlink()
    corpus.records.append(0, records, {k: v for k, v in footer.items() if k.startswith("tar")})
    content = status(look(corpus))
    lines = list(status_lines(content))
    assert "  2 of them failed and have no image" in lines
    assert "nucleus retry" not in "\n".join(lines)  # they are no downloads


def test_the_columns_stand_below_each_other(made):
    corpus = small_corpus_of(made)
    rows = corpus.records.read(0, ("shard", "row", "id"))
    name = "inspect.a_group_with_a_rather_long_name"
    Table(corpus.store, name, "aa").append(0, rows, {})
    content = status(look(corpus))
    lines = [line for line in status_lines(content) if " rows" in line]
    assert len({line.index(" rows") for line in lines}) == 1
    assert len(lines) > 9


def small_corpus_of(made):
    """A copy that a test may write to."""
    target = Path(made.uri).with_name("copy")
    if not target.exists():
        shutil.copytree(made.uri, target)
    return Corpus(str(target))


@pytest.mark.slow
def test_a_selection_of_other_rules_and_a_run_that_did_not_end_are_told(made):
    corpus = small_corpus_of(made)
    other = curated.run(corpus.uri, "status", "select.rules.new=width < 9", dry_run=True)
    content = status(other)
    assert content["selection"] is None
    assert "(of other tables or rules)" in "\n".join(status_lines(content))
    wrong = curated.run(corpus.uri, "status", "select.rules.new=widht < 9", dry_run=True)
    assert status(wrong)["records"] == 24  # whoever selects is told what is wrong
    begun = curated.run(corpus.uri, "curate", RULES)
    begun.do("inspect", "dedup")
    last = status(look(corpus))["last_run"]
    assert (last["done"], last["not_done"]) == (
        ["inspect", "dedup"],
        ["compare", "select", "embed", "score"],
    )
    text = "\n".join(status_lines(status(look(corpus))))
    assert "not done: compare, select, embed, score (still running, or ended early)" in text
    begun.folder.add_failures([{"stage": "select", "shard": 1, "error": "x"}])
    text = "\n".join(status_lines(status(look(corpus))))
    assert "; 1 shard failed" in text
    assert "nucleus retry" not in text  # which does not select again
    begun.folder.add_failures([{"stage": "inspect", "shard": 1, "error": "x"}])
    text = "\n".join(status_lines(status(look(corpus))))
    assert "; 2 shards failed" in text
    assert f"nucleus retry corpus={corpus.uri}" in text


def test_the_last_run_is_one_that_worked(made):
    corpus = small_corpus_of(made)
    before = status(look(corpus))["last_run"]
    for looking in ("pairs", "verify", "calibrate", "captions-diff"):
        curated.run(corpus.uri, looking, RULES)
        assert status(look(corpus))["last_run"] == before
    curated.run(corpus.uri, "retry", RULES)
    text = "\n".join(status_lines(status(look(corpus))))
    assert "-retry: no stage finished" in text


def test_a_retry_that_had_no_work_is_told_as_one(made):
    corpus = small_corpus_of(made)
    idle = curated.run(corpus.uri, "retry", RULES)
    idle.retry("inspect")
    idle.retry("ingest")
    last = status(look(corpus))["last_run"]
    assert (last["done"], last["nothing_to_retry"]) == ([], ["inspect", "ingest"])
    text = "\n".join(status_lines(status(look(corpus))))
    assert "-retry: nothing to retry in inspect, ingest" in text
    assert "no stage finished" not in text
    assert "not done" not in text


def test_a_report_is_not_told_to_have_done_what_it_shows(tmp_path):
    corpus = small_corpus(tmp_path, shards=1, images=2)
    run = RunFolder.claim(corpus.store, "report")
    run.write_plan({"command": "report", "steps": ["report"]})
    run.add_stage({"stage": "inspect", "told": ["of an earlier run"]})
    corpus.store.put(run.path("report.html"), b"")
    last = status(look(corpus))["last_run"]
    assert (last["done"], last["not_done"]) == (["report"], [])
    assert "told" not in last

import json

from nucleus_data.corpus.tables import Table
from nucleus_data.views.status import status, status_lines
from nucleus_data.world.corpora import small_corpus
from tests.support import curated
from tests.support.looked_at import look


def test_the_status_counts_what_is_there(made):
    content = status(look(made))
    assert (content["records"], content["shards"], content["several_writers"]) == (24, 2, True)
    file = content["tables"]["inspect.file"]
    assert file == {
        "config_hash": made.made.tables["inspect.file"],
        "rows": 24,
        "failed_retryable": 0,
    }
    lying = {t for t in made.store.list("tables") if t not in ("records", "selection")}
    assert set(content["tables"]) == lying - {"dedup"}
    assert "caption.short" not in content["tables"]
    assert [t["table"] for t in content["other_tables"]] == ["dedup"]
    assert content["left_out"] == content["unfinished_sets"] == []
    states = {"kept": 21, "rejected": 1, "duplicate": 1, "failed": 1, "pending": 0}
    assert content["selections"] == {made.made.tables["selection"]: states}
    assert content["training_sets"] == [made.made.training_set]
    assert content["runs"] == [made.made.name]
    assert json.loads(json.dumps(content)) == content
    lines = "\n".join(status_lines(content))
    assert "24 records in 2 image shards" in lines
    assert "1 duplicate, 1 failed, 21 kept, 1 rejected" in lines
    assert "one writer" not in lines


def test_the_status_lists_what_lies_there_of_other_configurations_too(tmp_path):
    corpus = small_corpus(tmp_path, shards=1, images=2)
    rows = corpus.records.read(0, ("shard", "row", "id"))
    for name, hashed in (("mine", "aa"), ("inspect.file", "bb"), ("selection", "cc")):
        Table(corpus.store, name, hashed).append(0, rows, {})
    corpus.store.create("sets/main/dd/_plan/000000.parquet", b"")
    content = status(look(corpus))
    assert content["tables"] == {}
    there = [(t["table"], t["config_hash"], t["rows"]) for t in content["other_tables"]]
    assert there == [("inspect.file", "bb", 2), ("mine", "aa", 2), ("selection", "cc", 2)]
    assert content["unfinished_sets"] == ["sets/main/dd"]
    text = "\n".join(status_lines(content))
    assert "cc           2 rows (not finished)" in text
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
    assert "2 claimed shards are not ingested yet; run ingest again" in lines
    assert "0 rows, 3 failed (nucleus retry)" in lines
    assert "one writer at a time" in lines
    Table(corpus.store, "inspect.file", tables["inspect.file"]).append(0, rows.slice(0, 2), {})
    content = status(look(corpus))
    assert content["tables"]["inspect.file"]["failed_retryable"] == 1

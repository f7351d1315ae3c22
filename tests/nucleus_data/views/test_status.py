import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import Table
from nucleus_data.errors import RequestError
from nucleus_data.hashing import record_id
from nucleus_data.views.explain import explain, explain_lines
from nucleus_data.views.export import export
from nucleus_data.views.status import status, status_lines
from nucleus_data.world.corpora import small_corpus, write_shard
from tests.support import curated
from tests.support.curated import picture

RULES = "select.rules={small: 'least(width, height) < 32'}"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A curated corpus: kept and duplicate, rejected, failed; and its training set."""
    corpus = Corpus(str(tmp_path_factory.mktemp("look") / "c"), create=True)
    images = {
        "kept.png": picture(1, (120, 80)),
        "copy.png": picture(1, (60, 40)),
        "small.png": picture(2, (20, 20)),
        "broken.png": b"<html>",
    }
    write_shard(corpus, 0, images, {"kept.png": "a picture"})
    write_shard(corpus, 1, {f"{i}.png": picture(10 + i) for i in range(20)})
    run = curated.run(corpus.uri, "curate", RULES)
    run.do("inspect", "dedup", "select", "shard")
    corpus.made = run
    return corpus


def story(corpus, key):
    return explain(corpus, record_id("test", key))


def part(found, name):
    (content,) = [v for k, v in found.items() if k.split("/")[0] == name]
    return content


def look(corpus):
    return curated.run(corpus.uri, "status", RULES, dry_run=True)


def test_the_status_counts_what_is_there(made):
    content = status(look(made))
    assert (content["records"], content["shards"], content["several_writers"]) == (24, 2, True)
    file = content["tables"]["inspect.file"]
    assert file == {
        "config_hash": made.made.tables["inspect.file"],
        "rows": 24,
        "failed_retryable": 0,
    }
    assert content["tables"]["caption.short"]["rows"] == 0
    states = {"kept": 21, "rejected": 1, "duplicate": 1, "failed": 1, "pending": 0}
    assert content["selections"] == {made.made.tables["selection"]: states}
    assert content["training_sets"] == [made.made.training_set]
    assert content["runs"] == [made.made.name]
    assert json.loads(json.dumps(content)) == content
    lines = "\n".join(status_lines(content))
    assert "24 records in 2 image shards" in lines
    assert "1 duplicate, 1 failed, 21 kept, 1 rejected" in lines
    assert "one writer" not in lines


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


def test_a_kept_record_s_story(made):
    found = story(made, "kept.png")
    assert found["record"]["key"] == "kept.png"
    assert found["record"]["source.caption"] == "a picture"
    assert part(found, "inspect.file")["width"] == 120
    assert part(found, "selection")["state"] == "kept"
    assert [pair["other_id"] for pair in found["duplicates"]] == [
        record_id("test", "copy.png")
    ] or [pair["id"] for pair in found["duplicates"]] == [record_id("test", "copy.png")]
    (place,) = found["training sets"]
    assert place["set"] == made.made.training_set
    assert place["captions"] == ["a picture"]
    lines = list(explain_lines(found))
    assert "record" in lines
    assert any(line.split() == ["key", "kept.png"] for line in lines)
    assert any(line.split() == ["state", "kept"] for line in lines)


def test_the_stories_of_those_that_were_not_kept(made):
    copy = part(story(made, "copy.png"), "selection")
    assert (copy["state"], copy["duplicate_of"]) == ("duplicate", record_id("test", "kept.png"))
    assert story(made, "copy.png")["training sets"] == []
    small = part(story(made, "small.png"), "selection")
    assert (small["state"], small["reasons"]) == ("rejected", ["small"])
    assert small["conditions"] == ["least(width, height) < 32"]
    assert json.loads(small["values"]) == {"width": 20, "height": 20}
    broken = story(made, "broken.png")
    assert part(broken, "inspect.file")["error"] == "not_an_image"
    assert part(broken, "selection")["state"] == "failed"


def test_a_story_is_found_by_the_beginning_of_its_id(made):
    ident = record_id("test", "small.png")
    ids = [r["id"] for r in made.table("records").to_arrow_table().to_pylist()]
    length = next(n for n in range(1, 33) if sum(i.startswith(ident[:n]) for i in ids) == 1)
    assert explain(made, ident[:length])["record"]["id"] == ident
    assert explain(made, ident[:length].upper())["record"]["id"] == ident
    shared = next(i[0] for i in ids if sum(j[0] == i[0] for j in ids) > 1)
    with pytest.raises(RequestError, match=f"several records begin with id '{shared}'"):
        explain(made, shared)
    with pytest.raises(RequestError, match="no record begins with id"):
        explain(made, "0" * 32)
    for wrong in ("", "xyz", "' OR true --", "0" * 33):
        with pytest.raises(RequestError, match="is not a record id; ids are 32 hex digits"):
            explain(made, wrong)


def test_a_corpus_without_any_pair_has_stories_too(tmp_path):
    corpus = small_corpus(tmp_path / "it's", shards=0)
    write_shard(corpus, 0, {"a.png": picture(1), "b.png": picture(2)})
    curated.inspect(corpus)
    curated.run(corpus.uri, "dedup").do("dedup")
    found = story(corpus, "a.png")
    assert found["duplicates"] == []
    assert part(found, "inspect.tone")["luma_mean"] > 0


def test_a_failure_that_may_pass_is_told(tmp_path):
    corpus = small_corpus(tmp_path, shards=1, images=1)
    row = corpus.records.read(0, ("shard", "row", "id"))
    lost = row.append_column("reason", [["killed_timeout"]])
    Table(corpus.store, "inspect.file", "x").failed.append(0, lost, {})
    found = part(story(corpus, "0/0.bin"), "inspect.file")
    assert (found["state"], found["reason"]) == ("failed, retryable", "killed_timeout")
    Table(corpus.store, "inspect.file", "x").append(0, row, {})
    assert "reason" not in part(story(corpus, "0/0.bin"), "inspect.file")


def test_an_export_holds_the_kept_records(made, tmp_path):
    run = look(made)
    run.use_selection()
    for name, reader in (
        ("kept.parquet", lambda path: pq.read_table(path).to_pylist()),
        ("kept.csv", lambda path: list(csv.DictReader(path.read_text().splitlines()))),
    ):
        target = tmp_path / name
        assert export(run.run, run.stages["select"], str(target)) == 21
        rows = reader(target)
        assert [row["key"] for row in rows] == ["kept.png", *(f"{i}.png" for i in range(20))]
        assert rows[0]["id"] == record_id("test", "kept.png")
        assert rows[0]["source.caption"] == "a picture"
        assert len(rows[0]["sha256"]) == 64
        assert {"source", "key"} < set(rows[0])
        assert {"offset", "file", "error"}.isdisjoint(rows[0])
    with pytest.raises(RequestError, match=r"cannot export to '.*kept.txt'; allowed: .*csv"):
        export(run.run, run.stages["select"], str(tmp_path / "kept.txt"))
    with pytest.raises(RequestError, match=r"cannot export to '.*absent.kept.csv'"):
        export(run.run, run.stages["select"], str(tmp_path / "absent" / "kept.csv"))
    assert isinstance(pq.read_schema(tmp_path / "kept.parquet"), pa.Schema)

import json

import pytest

from nucleus_data.corpus.tables import Table
from nucleus_data.errors import RequestError
from nucleus_data.hashing import record_id
from nucleus_data.views.explain import explain, explain_lines
from nucleus_data.world.corpora import small_corpus, write_shard
from tests.support import curated
from tests.support.curated import picture


def story(corpus, key):
    return explain(corpus, record_id("test", key))


def part(found, name):
    (content,) = [v for k, v in found.items() if k.split("/")[0] == name]
    return content


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

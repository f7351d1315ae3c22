import json
import os
from pathlib import Path

import pyarrow as pa
import pytest

from nucleus_data.corpus.tables import CROWDED_PAIRS_SCHEMA, PAIRS_SCHEMA, Table
from nucleus_data.errors import RequestError
from nucleus_data.hashing import record_id
from nucleus_data.views.explain import explain, explain_lines
from nucleus_data.views.pairs_of import pairs_of
from nucleus_data.world.corpora import small_corpus, write_shard
from tests.support import curated
from tests.support.curated import picture
from tests.support.released import earlier_release, later_corpus


def story(corpus, key):
    return explain(corpus, record_id("test", key))


def part(found, name):
    (content,) = [v for k, v in found.items() if k.split("/")[0] == name]
    return content


@pytest.mark.slow
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


@pytest.mark.slow
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
    detail = part(broken, "inspect.tone")["detail"]
    assert detail.startswith("text, starting b")
    assert broken["state"]["why"] == [f"not_an_image: {detail}"], "once, though each table has it"
    lines = list(explain_lines(broken))
    assert not any(line.split()[0] == "luma_mean" for line in lines), "no empty values"
    assert "why" not in story(made, "small.png")["state"]


def test_a_story_is_found_by_the_beginning_of_its_id(made):
    ident = record_id("test", "small.png")
    ids = [r["id"] for r in made.table("records").to_arrow_table().to_pylist()]
    length = next(n for n in range(1, 33) if sum(i.startswith(ident[:n]) for i in ids) == 1)
    assert explain(made, ident[:length])["record"]["id"] == ident
    assert explain(made, ident[:length].upper())["record"]["id"] == ident
    shared = next(i[0] for i in ids if sum(j[0] == i[0] for j in ids) > 1)
    with pytest.raises(RequestError, match=f"several records begin with id '{shared}'"):
        explain(made, shared)
    with pytest.raises(RequestError, match="no record has an id that begins with"):
        explain(made, "0" * 32)
    for wrong in ("", "xyz", "' OR true --", "%", "0" * 33):
        with pytest.raises(RequestError, match="or this key, file name or URL; ids are 32"):
            explain(made, wrong)


def test_a_story_is_found_by_key_file_name_and_url(tmp_path):
    corpus = small_corpus(tmp_path, shards=0)
    pictures = {"a/x.png": picture(1), "b/x.png": picture(2), "http://h/y.png": b"z"}
    write_shard(corpus, 0, {**pictures, "e\\xe9.png": picture(3)})
    urls = ["http://u/1", "http://u/2", None, None]
    rows = corpus.records.read(0).append_column("source.url", [urls])
    Path(corpus.store.path(f"{corpus.records.folder}/000000-0.parquet")).unlink()
    corpus.records.append(0, rows, {})
    assert explain(corpus, "http://u/2")["record"]["key"] == "b/x.png"
    for name in ("a/x.png", record_id("test", "a/x.png") + ".png"):
        assert explain(corpus, name)["record"]["key"] == "a/x.png"
    assert explain(corpus, "http://h/y.png")["record"]["key"] == "http://h/y.png"
    assert explain(corpus, "y.png")["record"]["key"] == "http://h/y.png"
    latin = os.fsdecode(b"e\xe9.png")  # a file's name that is no UTF-8, as an argument has it
    assert explain(corpus, latin)["record"]["key"] == "e\\xe9.png"
    with pytest.raises(RequestError, match=r"several records are called 'x.png'.*'a/x.png'"):
        explain(corpus, "x.png")


def test_the_state_comes_first_and_of_a_duplicate_the_kept_picture_and_the_distances(made):
    copy = story(made, "copy.png")
    assert next(iter(copy)) == "state"
    state = copy["state"]
    assert (state["state"], state["kept_key"]) == ("duplicate", "kept.png")
    assert state["duplicate_of"] == record_id("test", "kept.png")
    assert state["distance"] <= 4
    assert state["distance256"] <= 40
    assert list(explain_lines(copy))[:2] == ["state", f"  {'state':<22} duplicate"]
    assert story(made, "kept.png")["duplicates"][0]["other_key"] == "copy.png"
    assert story(made, "small.png")["state"]["reasons"] == ["small"]
    assert story(made, "broken.png")["state"]["state"] == "failed"


def test_a_record_without_a_selection_is_not_decided_yet(tmp_path):
    corpus = small_corpus(tmp_path, shards=1, images=1)
    assert story(corpus, "0/0.bin")["state"] == {"state": "not decided yet"}


def test_bytes_are_shown_as_text_and_nothing_moves_the_terminal(tmp_path):
    corpus = small_corpus(tmp_path, shards=1, images=1)
    rows = corpus.records.read(0, ("shard", "row", "id"))
    values = {"name": "kos\u0301 \u0142".encode(), "hash": b"\xff\x00", "tags": ["\u0142\x1b[2J"]}
    for name, value in values.items():
        rows = rows.append_column(name, [[value]])
    Table(corpus.store, "mine", "x").append(0, rows, {})
    text = "\n".join(explain_lines(story(corpus, "0/0.bin")))
    assert "kos\u0301 \u0142" in text
    assert "ff00" in text
    assert '["\u0142\\\\u001b[2J"]' in text or '["\u0142\\u001b[2J"]' in text
    assert "b'" not in text
    assert "\x1b" not in text


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


@pytest.mark.slow
def test_of_a_duplicate_without_a_pair_of_its_own_the_distances_are_told(tmp_path):
    corpus = small_corpus(tmp_path / "c", shards=0)
    # Of one class (all hashes and shapes equal, and so linked as a star), the best is not the hub.
    copies = {f"{n}.png": picture(1, (96, 64), compress_level=n) for n in (1, 2, 3, 9)}
    write_shard(corpus, 0, copies)
    curated.inspect(corpus)
    run = curated.run(corpus.uri, "curate", "select.prefer=[bytes asc]")
    run.do("dedup", "select")
    told = 0
    for key in copies:
        found = story(corpus, key)
        if found["state"]["state"] == "kept":
            continue
        told += 1
        state = found["state"]
        assert state["kept_key"] == "9.png"
        assert (state["distance"], state["distance256"], state["exact"]) == (0, 0, False)
        lines = list(explain_lines(found))
        assert f"  {'distance':<22} 0 of 64 bits" in lines
        assert f"  {'distance256':<22} 0 of 256 bits" in lines
    assert told == 3


@pytest.mark.slow
def test_a_survivor_in_another_corpus_is_named(tmp_path):
    release, corpus = earlier_release(tmp_path / "release"), later_corpus(tmp_path / "own")
    run = curated.run(corpus.uri, "curate", f"dedup.against={{old: '{release.uri}'}}")
    run.do("dedup", "select")
    rows = curated.table(corpus, "selection", run.tables["selection"])
    elsewhere = [r for r in rows if r["duplicate_of"] and r["duplicate_of"].startswith("old:")]
    keys = {r["id"]: r["key"] for r in release.table("records").to_arrow_table().to_pylist()}
    assert elsewhere
    for row in elsewhere:
        state = explain(corpus, row["id"])["state"]
        assert state["kept_in"] == release.uri
        assert state["kept_key"] == keys[row["duplicate_of"].removeprefix("old:")]
        assert state["distance"] <= 4


def test_long_values_are_cut_and_their_length_is_said(tmp_path):
    corpus = small_corpus(tmp_path, shards=1, images=1)
    rows = corpus.records.read(0, ("shard", "row", "id"))
    values = {"text": "a" * 5000, "tags": ["b" * 9] * 900, "share": 0.1234567890123}
    for name, value in values.items():
        rows = rows.append_column(name, [[value]])
    Table(corpus.store, "mine", "x").append(0, rows, {})
    found = story(corpus, "0/0.bin")
    lines = list(explain_lines(found))
    assert max(map(len, lines)) < 400
    assert any(line.endswith("aaa... (5,000 characters)") for line in lines)
    assert any("bbb" in line and line.endswith(" characters)") for line in lines)
    assert f"  {'share':<22} 0.123457" in lines
    assert part(found, "mine")["text"] == "a" * 5000


def test_a_story_is_found_by_its_place_and_no_other_shard_is_read(tmp_path):
    corpus = small_corpus(tmp_path / "c", shards=3)
    (key,) = corpus.records.read(1, ["key"])["key"].to_pylist()[:1]
    for shard in (0, 2):
        corpus.store.put(f"{corpus.records.folder}/{shard:06d}-0.parquet", b"damaged")
    found = explain(corpus, "@1/0")
    assert (found["record"]["key"], found["left out"]) == (key, [])
    with pytest.raises(RequestError, match="image shard 000001 has no record in row 999"):
        explain(corpus, "@1/999")
    with pytest.raises(RequestError, match="image shard 000007 has no record"):
        explain(corpus, "@7/0")


def test_keys_of_a_pair_are_read_from_their_shards_alone(tmp_path):
    corpus = small_corpus(tmp_path / "c", shards=3)
    ids = [corpus.records.read(n, ["id"])["id"][0].as_py() for n in range(3)]
    pair = {"shard": 0, "row": 0, "id": ids[0], "distance": 1, "distance256": 2}
    other = {"other_shard": 1, "other_row": 0, "other_id": ids[1]}
    rows = [pair | other, {"shard": 1, "row": 0, "id": ids[1], "other_id": "old:x", "distance": 3}]
    for shard in (0, 1):
        mine = pa.Table.from_pylist([r for r in rows if r["shard"] == shard], PAIRS_SCHEMA)
        Table(corpus.store, "dedup", "aa").append(shard, mine, {})
    corpus.store.put(f"{corpus.records.folder}/000002-0.parquet", b"damaged")
    record = corpus.records.read(1).to_pylist()[0]
    near, far = pairs_of(corpus, record)
    key = corpus.records.read(0, ["key"])["key"][0].as_py()
    assert (near["other_id"], near["other_key"]) == (ids[1], key)
    assert (far["other_id"], far.get("other_key")) == ("old:x", None)


def test_a_member_of_a_crowd_is_told_how_large_it_is(tmp_path):
    corpus = small_corpus(tmp_path / "c", shards=3)
    ids = [corpus.records.read(n, ["id"])["id"][0].as_py() for n in range(3)]
    first = {"shard": 0, "row": 0, "id": ids[0], "exact": False}
    listed = [
        first | {"other_shard": n, "other_row": 0, "other_id": ident} for n, ident in enumerate(ids)
    ]
    rows = pa.Table.from_pylist(listed, CROWDED_PAIRS_SCHEMA)
    Table(corpus.store, "dedup", "aa").append(0, rows, {})
    for shard in range(3):
        (told,) = pairs_of(corpus, corpus.records.read(shard).to_pylist()[0])
        assert told == {"crowd": "one of 3 near pictures, of which not all pairs are stored"}
    assert pairs_of(corpus, corpus.records.read(0).to_pylist()[1]) == []

"""Captions from files: what becomes of each row, and what is written."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import Table
from nucleus_data.errors import RequestError
from nucleus_data.stages.caption.importing.imported import (
    import_captions,
    import_lines,
    plan_import,
)
from nucleus_data.stages.caption.stage import SCHEMA
from nucleus_data.world.corpora import small_corpus, write_shard
from tests.support.quick import quick
from tests.support.sharded import content_of

NAMED = {"id": None, "key": None, "url": None}


@pytest.fixture
def corpus(tmp_path):
    """Three shards of five pictures; their keys are `SHARD/ROW.bin`."""
    return small_corpus(tmp_path / "c")


def imported(
    corpus, file, name="alt", dry_run=False, caption=None, only=None, about=None, **columns
):
    request = plan_import(
        str(file),
        name,
        ["short", "long"],
        corpus,
        columns={**NAMED, **columns},
        caption=caption,
        only=only,
        about=about,
    )
    return import_captions(corpus, request, dry_run=dry_run)


def states(content):
    return {state: found["rows"] for state, found in content["states"].items()}


def stored(corpus, content, name="alt"):
    table = Table(corpus.store, f"caption.{name}", content["config_hash"])
    return {row["id"]: row for shard in table.shards() for row in table.read(shard).to_pylist()}


def texts(corpus, content, name="alt"):
    keys = dict(corpus.table("records").project("id, key").fetchall())
    return {keys[i]: row["caption"] for i, row in stored(corpus, content, name).items()}


GOOD = {"0/0.bin": "a cat", "0/3.bin": "ein Hund, braun", "2/4.bin": 'a "big" tree\nby a lake'}


def as_parquet(folder):
    table = pa.table({"file_name": list(GOOD), "text": list(GOOD.values())})
    pq.write_table(table, folder / "x.parquet")
    return folder / "x.parquet"


def as_csv(folder, ending="csv", separator=","):
    import csv

    with (folder / f"x.{ending}").open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerows([("file_name", "text"), *GOOD.items()])
    return folder / f"x.{ending}"


def as_lines(folder):
    file = folder / "x.jsonl.gz"
    lines = "".join(json.dumps({"file_name": k, "text": v}) + "\n" for k, v in GOOD.items())
    file.write_bytes(gzip.compress(lines.encode()))
    return file


def as_csv_gz(folder):
    (folder / "x.csv.gz").write_bytes(gzip.compress(as_csv(folder).read_bytes()))
    return folder / "x.csv.gz"


def as_lines_zst(folder):
    with pa.CompressedOutputStream(str(folder / "x.jsonl.zst"), "zstd") as out:
        out.write(gzip.decompress(as_lines(folder).read_bytes()))
    return folder / "x.jsonl.zst"


def as_metadata(folder):
    for key, text in GOOD.items():
        place = folder / "set" / key.split("/")[0]
        place.mkdir(parents=True, exist_ok=True)
        with (place / "metadata.jsonl").open("a") as file:
            file.write(json.dumps({"file_name": key.split("/")[1], "text": text}) + "\n")
        (place / "0.bin").write_bytes(b"a picture")
    return folder / "set"


def as_hub(folder):
    """Parquet files with pictures in them, as a hub has them."""
    (folder / "set" / "data").mkdir(parents=True)
    for number, (key, text) in enumerate(GOOD.items()):
        table = pa.table({"image": [{"bytes": b"x", "path": key}], "text": [text]})
        pq.write_table(table, folder / "set/data" / f"train-{number:05d}-of-00003.parquet")
    return folder / "set"


def as_saved(folder):
    """As `Dataset.save_to_disk` writes it, in two splits."""
    for split, keys in (("train", list(GOOD)[:2]), ("validation", list(GOOD)[2:])):
        place = folder / "set" / split
        place.mkdir(parents=True)
        table = pa.table(
            {"image": [{"bytes": b"x", "path": k} for k in keys], "text": [GOOD[k] for k in keys]}
        )
        with pa.ipc.new_stream(place / "data-00000-of-00001.arrow", table.schema) as writer:
            writer.write_table(table)
        listed = [{"filename": "data-00000-of-00001.arrow"}]
        (place / "state.json").write_text(json.dumps({"_data_files": listed}))
        (place / "dataset_info.json").write_text("{}")
    (folder / "set/dataset_dict.json").write_text('{"splits": ["train", "validation"]}')
    return folder / "set"


@pytest.mark.parametrize(
    "write",
    quick(
        [
            *(as_parquet, as_csv, as_lines, as_saved),
            *(as_csv_gz, as_lines_zst, as_metadata, as_hub),
            lambda folder: as_csv(folder, "tsv", "\t"),
            lambda folder: as_csv(folder, "csv", ";"),
        ],
        4,
    ),
)
def test_each_form_gives_the_same_captions(corpus, tmp_path, write):
    content = imported(corpus, write(tmp_path))
    assert states(content) == {"matched": 3}
    assert texts(corpus, content) == GOOD


def test_a_table_is_as_made_ones_are(corpus, tmp_path):
    content = imported(corpus, as_parquet(tmp_path), about={"model": "m", "prompt": "p"})
    (one, *_) = stored(corpus, content).values()
    assert (one["source"], one["model"], one["prompt"], one["seed"]) == ("imported", "m", "p", None)
    table = Table(corpus.store, "caption.alt", content["config_hash"])
    assert list(table.read(0).schema)[3:-1] == list(SCHEMA)
    assert table.shards() == [0, 2]
    assert corpus.table("caption.alt").count("*").fetchall() == [(3,)]


WRONG = [
    (b'{"key": "0/1.bin", "caption": "one"', "unreadable"),
    (b'{"key": "0/1.bin", "caption": "\xff"}', "unreadable"),
    (b'["0/1.bin", "one"]', "unreadable"),
    (b'{"key": "0/1.bin", "caption": "\\ud800 x"}', "not_text"),
    (b'{"key": "0/1.bin", "caption": "a \\u001b[2J b"}', "not_text"),
    (b'{"key": "0/1.bin", "caption": ["one", "two"]}', "not_text"),
    (b'{"key": "0/1.bin", "caption": 7}', "not_text"),
    (b'{"key": "0/1.bin", "caption": " \\u200b\\n"}', "empty"),
    (b'{"key": "0/1.bin"}', "empty"),
    (b'{"key": null, "caption": "one"}', "no_name"),
    (b'{"key": {"a": 1}, "caption": "one"}', "no_name"),
    (b'{"key": false, "caption": "one"}', "no_name"),
    (b'{"key": " \\t", "caption": "one"}', "no_name"),
    (b'{"key": "0/1.bin", "caption": "%s"}' % (b"x" * 70_000), "too_long"),
    (b'{"key": "0/9.bin", "caption": "one"}', "unmatched"),
    (b'{"key": "0/0.bin", "caption": "another"}', "doubled"),
]


FAST = [WRONG[number] for number in (0, 3, 7, 9, 12, 13, 14, 15)]  # one of each state


@pytest.mark.parametrize(("line", "state"), quick(WRONG, FAST, 2))
def test_a_bad_row_costs_itself_alone(corpus, tmp_path, line, state):
    good = [json.dumps({"key": key, "caption": text}).encode() for key, text in GOOD.items()]
    (tmp_path / "x.jsonl").write_bytes(b"\n".join([good[0], line, *good[1:]]) + b"\n")
    content = imported(corpus, tmp_path / "x.jsonl")
    assert states(content) == {"matched": 3, state: 1}
    assert texts(corpus, content) == GOOD
    (example,) = content["states"][state]["examples"]
    assert (example["file"], example["line"]) == ("x.jsonl", 2)
    assert any("row 2" in line for line in import_lines(content))


def test_a_damaged_row_of_a_csv_costs_itself_alone(corpus, tmp_path):
    rows = [
        b"key,caption",
        b"0/0.bin,a cat",
        b'0/1.bin,"opened and never closed',
        b'0/2.bin,"said ""so"", and',
        b'on another line"',
        b"0/3.bin,a red, round ball",
        b"0/4.bin,\xff\xfe",
        b'1/0.bin,a "q" and 5" of it',
        b"1/1.bin",
        b"",
        b"1/2.bin,last",
    ]
    (tmp_path / "x.csv").write_bytes(b"\n".join(rows))
    content = imported(corpus, tmp_path / "x.csv")
    assert texts(corpus, content) == {
        "0/0.bin": "a cat",
        "0/2.bin": 'said "so", and\non another line',
        "1/0.bin": 'a "q" and 5" of it',
        "1/2.bin": "last",
    }
    assert states(content) == {"matched": 4, "unreadable": 4}
    details = [e["detail"] for e in content["states"]["unreadable"]["examples"]]
    assert [e["line"] for e in content["states"]["unreadable"]["examples"]] == [3, 6, 7]
    assert "3 fields, and the head has 2" in details[1]


def test_texts_of_a_parquet_that_are_no_utf8_cost_their_rows(corpus, tmp_path):
    keys = pa.array(list(GOOD))
    broken = pa.StringArray.from_buffers(
        3, pa.array([0, 2, 4, 5], pa.int32()).buffers()[1], pa.py_buffer(b"ab\xff\xfec")
    )
    pq.write_table(pa.table({"key": keys, "caption": broken}), tmp_path / "x.parquet")
    content = imported(corpus, tmp_path / "x.parquet")
    assert states(content) == {"matched": 2, "not_text": 1}
    assert texts(corpus, content) == {"0/0.bin": "ab", "2/4.bin": "c"}


def test_records_are_found_by_id_and_by_url(corpus, tmp_path):
    ids = corpus.records.read(1, ["id"]).column("id").to_pylist()
    table = pa.table({"id": [ids[0].upper(), ids[3], "f" * 32], "caption": ["a", "b", "c"]})
    pq.write_table(table, tmp_path / "x.parquet")
    content = imported(corpus, tmp_path / "x.parquet")
    assert content["mapping"]["by"] == "id"
    assert (states(content), texts(corpus, content)) == (
        {"matched": 2, "unmatched": 1},
        {"1/0.bin": "a", "1/3.bin": "b"},
    )
    write_shard(corpus, 3, {"http://h/1.jpg": b"1", "http://h/2.jpg": b"2"}, source="web")
    (tmp_path / "y.csv").write_text("id,URL,TEXT\n17,http://h/2.jpg,two\n18,http://h/3.jpg,three\n")
    content = imported(corpus, tmp_path / "y.csv", name="urls")
    assert (content["mapping"], states(content)) == (
        {"by": "url", "name": "URL", "caption": "TEXT"},
        {"matched": 1, "unmatched": 1},
    )


def with_urls(corpus, records):
    """Adds shard 3, whose records have keys, source URLs and errors."""
    rows = [
        {"shard": 3, "row": row, "id": f"{row:032x}", "source": "web", "key": key, "error": error}
        | {"source.url": url}
        for row, (key, url, error) in enumerate(records)
    ]
    corpus.records.append(3, pa.Table.from_pylist(rows), {})


BY_URL = [
    ("000.jpg", "http://h/one.jpg", None),
    ("001.jpg", "http://h/one.jpg", None),
    ("002.jpg", "http://h/two.jpg", None),
    ("003.jpg", "http://h/two.jpg", "http_404"),
    ("004.jpg", "http://h/gone.jpg", "http_404"),
    ("http://h/moved.jpg", "http://h/now.jpg", None),
    ("006.jpg", "http://h/moved.jpg", None),
    ("007.jpg", None, None),
]


def test_a_source_url_is_found_that_is_not_the_key(corpus, tmp_path):
    with_urls(corpus, BY_URL)
    urls = ("one", "two", "nowhere", "gone", "moved", "now")
    lines = "".join(f"http://h/{name}.jpg,{name}\n" for name in urls)
    (tmp_path / "x.csv").write_text(f"url,caption\n{lines}")
    content = imported(corpus, tmp_path / "x.csv")
    assert texts(corpus, content) == {
        "000.jpg": "one",
        "001.jpg": "one",
        "002.jpg": "two",  # the other record with this URL has no picture
        "http://h/moved.jpg": "moved",  # by its key, and `now` comes later
        "006.jpg": "moved",
    }
    assert states(content) == {"matched": 3, "doubled": 1, "no_picture": 1, "unmatched": 1}
    assert (content["rows"], content["captions"], content["shards"]) == (6, 5, 1)
    head, *others = import_lines(content)
    assert head == (
        "3 of 6 rows matched by url in column 'url'; captions in 'caption', for 5 records in 1"
        " shard, as several have the same URL"
    )
    assert [line for line in others if line.startswith("  1 row: unmatched (names must be")]


def test_counts_of_rows_are_not_taken_for_those_of_records(corpus, tmp_path):
    with_urls(corpus, BY_URL)
    (tmp_path / "x.csv").write_text("url,text\nhttp://h/one.jpg,one\nhttp://h/none.jpg,none\n")
    content = imported(corpus, tmp_path / "x.csv")
    head, state, example = import_lines(content)
    assert head.startswith("1 of 2 rows matched by url")
    assert head.endswith("for 2 records in 1 shard, as several have the same URL")
    assert state.startswith("  1 row: unmatched")
    assert example == "    x.csv row 3 'http://h/none.jpg'"
    alone = next(import_lines(imported(corpus, as_csv(tmp_path, "tsv", "\t"), name="keys")))
    assert alone.endswith("captions in 'text', for 3 records in 2 shards")


def test_urls_that_no_record_has_are_told_beside_those_that_are(corpus, tmp_path):
    with_urls(corpus, BY_URL)
    (tmp_path / "x.csv").write_text("url,caption\nhttp://h/none.jpg,none\n")
    with pytest.raises(RequestError) as error:
        imported(corpus, tmp_path / "x.csv")
    assert "names in the file: 'http://h/none.jpg'" in str(error.value)
    assert "in the corpus: 'http://h/gone.jpg', 'http://h/moved.jpg'," in str(error.value)


def test_a_key_of_several_sources_is_told_and_chosen(corpus, tmp_path):
    write_shard(corpus, 3, {"0/0.bin": b"other"}, source="second")
    file = as_parquet(tmp_path)
    content = imported(corpus, file)
    assert states(content) == {"matched": 2, "ambiguous": 1}
    assert any("--source" in line for line in import_lines(content))
    content = imported(corpus, file, only="second")
    assert states(content) == {"unmatched": 2, "matched": 1}
    assert next(iter(stored(corpus, content).values()))["shard"] == 3


def test_captions_of_failed_records_are_none(corpus, tmp_path):
    row = {"shard": 9, "row": 0, "id": "a" * 32, "source": "t", "key": "gone", "error": "http_404"}
    corpus.records.append(9, pa.Table.from_pylist([row]), {})
    (tmp_path / "x.csv").write_text("key,caption\ngone,a cat\n1/1.bin,a dog\n")
    assert states(imported(corpus, tmp_path / "x.csv")) == {"matched": 1, "no_picture": 1}


@pytest.mark.slow
def test_a_killed_import_goes_on_to_the_same_bytes(corpus, tmp_path, monkeypatch):
    file = as_parquet(tmp_path)
    other = Corpus(str(tmp_path / "other"), create=True)
    small_corpus(tmp_path / "other")
    imported(other, file)
    append, seen = Table.append, []

    def killed(self, shard, *rest):
        if seen:
            raise KeyboardInterrupt
        seen.append(shard)
        return append(self, shard, *rest)

    monkeypatch.setattr(Table, "append", killed)
    with pytest.raises(KeyboardInterrupt):
        imported(corpus, file)
    monkeypatch.undo()
    once = imported(corpus, file)
    assert imported(corpus, file) == once
    name = f"tables/caption.alt/{once['config_hash']}"
    assert content_of(corpus.store.path(name)) == content_of(other.store.path(name))


@pytest.mark.slow
def test_the_hash_is_of_content_and_mapping(corpus, tmp_path):
    file = as_parquet(tmp_path)
    hashed = imported(corpus, file, dry_run=True)["config_hash"]
    assert not corpus.store.exists("tables/caption.alt")
    moved = file.rename(tmp_path / "renamed.parquet")
    assert imported(corpus, moved, dry_run=True)["config_hash"] == hashed
    others = {
        imported(corpus, moved, dry_run=True, about={"model": "m"})["config_hash"],
        imported(corpus, moved, dry_run=True, only="test")["config_hash"],
        imported(corpus, moved, dry_run=True, name="other")["config_hash"],
        imported(corpus, as_csv(tmp_path), dry_run=True)["config_hash"],
    }
    assert len(others | {hashed}) == 5


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "short",
            "the recipe has a variant with this name; choose another name, for example --as s",
        ),
        ("source", "this is the name of the upstream captions"),
        ("Two Words", "begins with a lowercase letter or _"),
        ("1x", "begins with a lowercase letter or _"),
        ("made", "made@01234567 was generated by a variant"),
    ],
)
def test_a_name_that_is_taken_is_refused(corpus, tmp_path, name, said):
    corpus.store.create("tables/caption.made/0123456789abcdef/000000-0.parquet", b"")
    with pytest.raises(RequestError, match=said):
        imported(corpus, as_parquet(tmp_path), name=name)


def test_what_can_t_be_read_is_refused_with_what_is_there(corpus, tmp_path):
    file = as_parquet(tmp_path)
    with pytest.raises(RequestError, match="no such file or folder"):
        imported(corpus, tmp_path / "none.csv")
    with pytest.raises(RequestError, match="has no column alt; its columns: file_name, text"):
        imported(corpus, file, caption="alt")
    with pytest.raises(RequestError, match=r"allowed: \.parquet, \.csv"):
        imported(corpus, file.rename(tmp_path / "x.xlsx"))
    (tmp_path / "odd.csv").write_text("key,caption\nno/such.bin,a cat\n")
    with pytest.raises(RequestError) as error:
        imported(corpus, tmp_path / "odd.csv")
    assert "names in the file: 'no/such.bin'" in str(error.value)
    assert "in the corpus: '0/0.bin'" in str(error.value)
    assert corpus.config_hashes("caption.alt") == []
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(RequestError, match=r"broken\.parquet can't be read"):
        imported(corpus, tmp_path / "broken.parquet")


@pytest.mark.parametrize("cut", [40, -12, -4])
def test_a_damaged_archive_is_refused_and_nothing_is_written(corpus, tmp_path, cut):
    file = as_csv_gz(tmp_path)
    data = file.read_bytes()
    file.write_bytes(data[:cut] + bytes(8) + data[cut:] if cut > 0 else data[:cut])
    with pytest.raises(RequestError, match=r"x\.csv\.gz can't be read"):
        imported(corpus, file)
    assert corpus.config_hashes("caption.alt") == []


def test_of_two_columns_of_one_name_none_is_taken(corpus, tmp_path):
    columns = [pa.array([*GOOD]), pa.array([*GOOD.values()]), pa.array([*GOOD.values()])]
    table = pa.Table.from_arrays(columns, names=["key", "text", "text"])
    pq.write_table(table, tmp_path / "x.parquet")
    (tmp_path / "x.csv").write_text("key,text,key\n0/0.bin,a cat,0/1.bin\n")
    for name, twice in (("x.parquet", "text"), ("x.csv", "key")):
        with pytest.raises(RequestError, match=f"{name} has several columns named {twice};"):
            imported(corpus, tmp_path / name)


@pytest.mark.slow
def test_a_file_whose_name_is_no_utf8_is_read(corpus, tmp_path):
    source = tmp_path / "x\udcff.csv"
    source.write_text("key,text\n0/0.bin,a cat\n0/1.bin,\n")
    content = imported(corpus, source)
    assert texts(corpus, content) == {"0/0.bin": "a cat"}
    assert "x\\xff.csv row 3" in "\n".join(import_lines(content))
    folder = tmp_path / "several"
    folder.mkdir()
    for letter in "ab":
        (folder / f"{letter}\udcff.csv").write_text(f"key,text\n0/0.bin,{letter}\n")
    assert texts(corpus, imported(corpus, folder)) == {"0/0.bin": "a"}


def test_a_corpus_without_records_is_told(tmp_path):
    empty = small_corpus(tmp_path / "c", shards=0)
    with pytest.raises(RequestError, match="has no records yet; run: nucleus ingest"):
        imported(empty, as_parquet(tmp_path))


def test_a_row_without_a_caption_may_be_the_first(corpus, tmp_path):
    rows = [{"key": "0/0.bin"}, {"key": "0/3.bin", "caption": "a dog"}]
    (tmp_path / "x.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    content = imported(corpus, tmp_path / "x.jsonl")
    assert texts(corpus, content) == {"0/3.bin": "a dog"}
    assert states(content) == {"matched": 1, "empty": 1}


def test_one_bad_id_does_not_hide_the_others(corpus, tmp_path):
    ids = corpus.records.read(0, ["id"])["id"].to_pylist()
    lines = "".join(f"{ident},a cat\n" for ident in ["malformed", *ids])
    (tmp_path / "x.csv").write_text(f"id,caption\n{lines}")
    assert states(imported(corpus, tmp_path / "x.csv")) == {"matched": 5, "unmatched": 1}
    (tmp_path / "none.csv").write_text("id,caption\n2f1c-9a,a cat\n")
    with pytest.raises(RequestError, match="no value in 'id' is a record id, 32 hex digits"):
        imported(corpus, tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"key": "0/0.bin", "caption": "a cat"}]', "one object per line: it is a JSON array"),
        ("key,caption\n0/0.bin,a cat\n", "one object per line: line 1: Expecting value"),
        ("", "one object per line: it is empty"),
    ],
)
def test_what_is_no_json_lines_is_told_so(corpus, tmp_path, text, said):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(RequestError, match=f"x.json is not JSON Lines, {said}"):
        imported(corpus, tmp_path / "x.json")


def test_files_of_several_kinds_are_named(corpus, tmp_path):
    folder = tmp_path / "several"
    folder.mkdir()
    as_csv(folder)
    (folder / "info.json").write_text("{}")
    with pytest.raises(RequestError, match=r"such as 'info\.json', 'x\.csv'; give the file with"):
        imported(corpus, folder)


def test_a_source_that_no_record_has_is_refused(corpus, tmp_path):
    with pytest.raises(RequestError, match=r"--source 'nope': no record has this source.*: test"):
        imported(corpus, as_csv(tmp_path), only="nope")


def test_names_are_blamed_only_if_they_are_unknown(corpus, tmp_path):
    (tmp_path / "x.jsonl").write_text('{"key": "0/0.bin", "caption": ["a", "list"]}\n')
    with pytest.raises(RequestError, match="gives a caption of a record") as error:
        imported(corpus, tmp_path / "x.jsonl")
    assert "1 row: not text" in str(error.value)
    assert "names in the file" not in str(error.value)


def test_a_header_may_have_spaces_and_tabs_with_commas(corpus, tmp_path):
    (tmp_path / "x.csv").write_text("key, caption\n0/0.bin,a cat\n")
    assert states(imported(corpus, tmp_path / "x.csv")) == {"matched": 1}
    (tmp_path / "x.tsv").write_text("key\tcaption\ta, b, c\n0/0.bin\ta cat\t1\n")
    assert states(imported(corpus, tmp_path / "x.tsv")) == {"matched": 1}
    (tmp_path / "mac.csv").write_bytes(b"key,caption\r0/0.bin,a cat\r")
    with pytest.raises(RequestError, match="a line end is a carriage return alone"):
        imported(corpus, tmp_path / "mac.csv")
    many = ",".join(f"c{n}" for n in range(5000))
    (tmp_path / "wide.csv").write_text(f"{many}\n")
    with pytest.raises(RequestError, match=r"c29 and 4,970 more\. Choose them"):
        imported(corpus, tmp_path / "wide.csv")


def test_a_second_import_of_a_name_tells_of_the_first(corpus, tmp_path):
    first = imported(corpus, as_csv(tmp_path))
    assert first["other_sets"] == []
    (tmp_path / "y.csv").write_text("key,caption\n0/0.bin,another cat\n")
    assert imported(corpus, tmp_path / "y.csv")["other_sets"] == [first["set"]]
    assert imported(corpus, tmp_path / "x.csv")["other_sets"] != [first["set"]]

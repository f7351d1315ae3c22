"""JSON lines, compressed lists, lists without a header, a single picture."""

import bz2
import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest

from nucleus_data.errors import RequestError
from nucleus_data.stages.ingest.build import build_shard
from nucleus_data.stages.ingest.claims import read_claim
from nucleus_data.stages.ingest.plan import plan_ingest
from nucleus_data.stages.ingest.settings import IngestSettings
from tests.support.ingested import images, rows, tiny
from tests.support.quick import quick

ROWS = [
    {"url": "http://h/a.jpg", "text": "yes", "n": 1, "tags": ["x", "y"], "mixed": 1},
    {"url": "http://h/b.jpg", "text": "007", "n": 2.5, "about": {"k": 1}, "mixed": "two"},
]
LINES = "\n".join(json.dumps(row) for row in ROWS) + "\n"


def packed(path, data):
    """Writes a file compressed as its ending says."""
    kinds = {".gz": gzip.compress, ".bz2": bz2.compress}
    if path.suffix == ".zst":
        with pa.CompressedOutputStream(str(path), "zstd") as out:
            out.write(data)
    else:
        path.write_bytes(kinds.get(path.suffix, bytes)(data))
    return path


@pytest.mark.parametrize(
    "name", quick(["l.jsonl", "l.ndjson", "l.jsonl.gz", "l.jsonl.zst", "l.jsonl.bz2"], 3)
)
def test_json_lines_are_a_list(corpus, tmp_path, name):
    source = packed(tmp_path / name, LINES.encode())
    plan = plan_ingest(corpus, IngestSettings(source=str(source)))
    assert (plan.kind, plan.found, plan.source) == ("urls", 2, "l")
    claim = read_claim(corpus, 0).rows
    assert claim["url"].to_pylist() == ["http://h/a.jpg", "http://h/b.jpg"]
    assert claim["source.caption"].to_pylist() == ["yes", "007"]
    assert claim["source.n"].to_pylist() == [1.0, 2.5]
    assert claim["source.mixed"].to_pylist() == ["1", "two"]
    assert claim["source.tags"].to_pylist() == ['["x","y"]', None]
    assert claim["source.about"].to_pylist() == [None, '{"k": 1}']


def test_a_line_that_is_no_object_costs_itself(corpus, tmp_path):
    bad = ["{broken", "[1, 2]", "", '{"a": ' + "[" * 1000 + "]" * 1000 + "}"]
    source = tmp_path / "l.jsonl"
    source.write_bytes(
        LINES.encode() + "\n".join(bad).encode() + b'\n\xff\xfe\n{"url": "http://h/c"}'
    )
    plan = plan_ingest(corpus, IngestSettings(source=str(source)))
    assert plan.found == 7
    claim = read_claim(corpus, 0).rows
    errors = claim["error"].to_pylist()
    assert errors.count("damaged_row") == 4
    assert "l.jsonl line 3" in next(d for d in claim["detail"].to_pylist() if d)
    assert claim["url"].to_pylist().count(None) == 4
    assert any("4 rows of the list cannot be read" in note for note in plan.notes)


def test_odd_names_of_fields_cost_no_row(corpus, tmp_path):
    source = tmp_path / "l.jsonl"
    source.write_text('{"url": "http://h/a", "\\ud800x": 1, "y\\u0000\\u001b": 2}\n')
    assert plan_ingest(corpus, IngestSettings(source=str(source))).found == 1
    claim = read_claim(corpus, 0).rows
    assert (claim["source.x"].to_pylist(), claim["source.y"].to_pylist()) == ([1], [2])


def test_lists_of_captions_may_be_empty_and_hold_nulls(corpus, tmp_path):
    captions = [[], ["a", None, "b"], None, ["c"]]
    source = tmp_path / "l.jsonl"
    lines = [{"url": f"http://h/{i}", "caption": each} for i, each in enumerate(captions)]
    source.write_text("\n".join(map(json.dumps, lines)))
    plan_ingest(corpus, IngestSettings(source=str(source)))
    claim = read_claim(corpus, 0).rows
    assert claim["source.caption"].to_pylist() == [None, "a", None, "c"]
    assert claim["source.captions"].to_pylist() == [None, ["a", "b"], None, ["c"]]


@pytest.mark.parametrize("text", ["", "{}\n{}\n", "[1]\n"])
def test_lines_without_a_field_are_told_in_words(corpus, tmp_path, text):
    source = tmp_path / "l.jsonl"
    source.write_text(text)
    with pytest.raises(RequestError, match="no line is a JSON object with a field"):
        plan_ingest(corpus, IngestSettings(source=str(source)))


@pytest.mark.parametrize("name", ["l.csv.gz", "l.tsv.zst", "l.txt.gz"])
def test_other_lists_may_be_compressed(corpus, tmp_path, name):
    mark = "\t" if "tsv" in name else ","
    text = f"url{mark}text\nhttp://h/a{mark}yes\nhttp://h/b{mark}no\n"
    if "txt" in name:
        text = "http://h/a\nhttp://h/b\n"
    plan = plan_ingest(corpus, IngestSettings(source=str(packed(tmp_path / name, text.encode()))))
    assert (plan.kind, plan.found) == ("urls", 2)
    assert read_claim(corpus, 0).rows["url"].to_pylist() == ["http://h/a", "http://h/b"]


def test_a_damaged_compressed_list_is_told(corpus, tmp_path):
    source = tmp_path / "l.csv.gz"
    source.write_bytes(gzip.compress(b"url\nhttp://h/a\n" * 1000)[:40])
    with pytest.raises(RequestError, match=r"l.csv.gz' cannot be read"):
        plan_ingest(corpus, IngestSettings(source=str(source)))


def test_a_list_without_a_header_line(corpus, tmp_path):
    source = tmp_path / "Train_GCC-training.tsv"
    source.write_text(
        "a very typical bus station\thttp://h/1\nsierra looked stunning\thttp://h/2\n"
    )
    plan = plan_ingest(corpus, IngestSettings(source=str(source), columns=("caption", "url")))
    assert plan.found == 2
    claim = read_claim(corpus, 0).rows
    assert claim["url"].to_pylist() == ["http://h/1", "http://h/2"]
    assert claim["source.caption"].to_pylist()[0] == "a very typical bus station"


def test_names_of_columns_are_no_sql(corpus, tmp_path):
    source = tmp_path / "l.csv"
    source.write_text("http://h/1,x\n")
    settings = IngestSettings(source=str(source), columns=("url", "it's'], header = true"))
    plan_ingest(corpus, settings)
    assert "source.it's'], header = true" in read_claim(corpus, 0).rows.column_names


def test_a_picture_is_a_source(corpus, tmp_path):
    (tmp_path / "cat.png").write_bytes(tiny(1))
    (tmp_path / "cat.txt").write_text("a cat")
    (tmp_path / "dog.png").write_bytes(tiny(2))
    plan = plan_ingest(corpus, IngestSettings(source=str(tmp_path / "cat.png")))
    assert (plan.kind, plan.found) == ("folder", 1)
    build_shard(corpus, 0)
    (found,) = rows(corpus)
    assert (found["key"], found["source.caption"]) == ("cat.png", "a cat")


def test_a_folder_with_metadata_lines_as_imagefolder_reads_it(corpus, tmp_path):
    folder = tmp_path / "set"
    (folder / "train").mkdir(parents=True)
    texts = {}
    with (folder / "train/metadata.jsonl").open("w") as file:
        for i in range(4):
            (folder / f"train/{i}.png").write_bytes(tiny(i))
            texts[f"{i}.png"] = f"number {i}, “quoted”"
            row = {"file_name": f"{i}.png", "text": texts[f"{i}.png"]}
            file.write(json.dumps(row) + "\n")
    plan = plan_ingest(corpus, IngestSettings(source=str(folder)))
    build_shard(corpus, plan.todo[0])
    ours = {row["key"].rpartition("/")[2]: row["source.caption"] for row in rows(corpus)}
    assert ours == texts


@pytest.mark.slow
def test_imagefolder_gives_the_same_captions(corpus, tmp_path):
    datasets = pytest.importorskip("datasets")
    test_a_folder_with_metadata_lines_as_imagefolder_reads_it(corpus, tmp_path)
    theirs = datasets.load_dataset(
        "imagefolder", data_dir=str(tmp_path / "set"), split="train", cache_dir=str(tmp_path / "c")
    ).cast_column("image", datasets.Image(decode=False))
    captions = {Path(row["image"]["path"]).read_bytes(): row["text"] for row in theirs}
    pictures = images(corpus)
    ours = [row["source.caption"] for row in rows(corpus)]
    assert dict(zip(pictures, ours, strict=True)) == captions
    assert len(captions) == 4

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nucleus_data.errors import RequestError
from nucleus_data.stages.ingest import fetch
from nucleus_data.stages.ingest.build import build_shard
from nucleus_data.stages.ingest.claims import read_claim
from nucleus_data.stages.ingest.http.download import Download
from nucleus_data.stages.ingest.plan import plan_ingest
from nucleus_data.stages.ingest.settings import IngestSettings
from nucleus_data.stages.ingest.texts import MOST_CHARACTERS
from tests.support.ingested import rows, tiny, url_list


@pytest.mark.parametrize("kind", ["parquet", "csv", "tsv", "txt", "folder", "glob"])
def test_url_lists_of_every_kind(corpus, tmp_path, kind):
    urls = ["http://h/a.JPG", "http://h/b?c=d.png", "http://h/a.JPG"]
    table = pa.table({"URL": urls, "TEXT": ["one", None, " three\n"], "n": [1, 2, 3]})
    folder = tmp_path / "lists"
    folder.mkdir()
    source = folder / f"part.{kind}"
    if kind in ("folder", "glob"):
        pq.write_table(table.slice(0, 2), folder / "0.parquet")
        pq.write_table(table.slice(2), folder / "1.parquet")
        source = folder if kind == "folder" else folder / "*.parquet"
    elif kind == "parquet":
        pq.write_table(table, source)
    elif kind == "txt":
        source.write_text("\ufeff" + "\n\n".join(urls) + "\n")
    else:
        mark = "," if kind == "csv" else "\t"
        lines = [("URL", "TEXT", "n"), (urls[0], "one", "1"), (urls[1], "", "2")]
        lines.append((urls[2], '" three\n"', "3"))
        source.write_text("\n".join(mark.join(line) for line in lines) + "\n")
    plan = plan_ingest(corpus, IngestSettings(source=str(source)))
    assert (plan.kind, plan.found) == ("urls", 3)
    claim = read_claim(corpus, 0).rows
    assert claim["key"].to_pylist() == [
        "http://h/a.JPG#0",
        "http://h/b?c=d.png#0",
        "http://h/a.JPG#1",
    ]
    assert claim["source.url"].to_pylist() == claim["url"].to_pylist() == urls
    assert claim["extension"].to_pylist() == ["jpg", None, "jpg"]
    if kind != "txt":
        assert claim["source.caption"].to_pylist() == ["one", None, "three"]
        assert claim["source.n"].to_pylist() == [1, 2, 3]


def test_columns_become_plain(corpus, tmp_path):
    source = url_list(
        tmp_path / "l.parquet",
        ["http://h/a"],
        tags=[["x", "y"]],
        about=[{"k": 1}],
        thumbnail=[b"\xff"],
        caption=["c"],
    )
    plan = plan_ingest(corpus, IngestSettings(source=source))
    claim = read_claim(corpus, 0).rows
    assert claim["source.tags"].to_pylist() == ['["x","y"]']
    assert claim["source.about"].to_pylist() == ['{"k":1}']
    assert "source.thumbnail" not in claim.column_names
    assert plan.notes == [
        "binary columns left out: thumbnail",
        "lists and structures kept as JSON text: tags, about",
    ]


def test_wrong_url_lists_are_refused(corpus, tmp_path):
    source = tmp_path / "l.parquet"
    pq.write_table(pa.table({"a": [1], "b": ["x"]}), source)
    with pytest.raises(RequestError, match=r"its columns are a, b.*ingest.url_column"):
        plan_ingest(corpus, IngestSettings(source=str(source)))
    with pytest.raises(RequestError, match=r"url_column='c'.*a, b"):
        plan_ingest(corpus, IngestSettings(source=str(source), url_column="c"))
    source.write_bytes(b"PAR1 no")
    with pytest.raises(RequestError, match="cannot be read"):
        plan_ingest(corpus, IngestSettings(source=str(source)))
    (tmp_path / "e.txt").write_text("\n")
    with pytest.raises(RequestError, match="has no row"):
        plan_ingest(corpus, IngestSettings(source=str(tmp_path / "e.txt")))
    with pytest.raises(RequestError, match="captions is only for folders"):
        plan_ingest(corpus, IngestSettings(source=str(tmp_path / "e.txt"), captions="x.csv"))


@pytest.mark.parametrize("column", ["caption", "captions"])
def test_several_captions_of_one_picture(corpus, tmp_path, column):
    captions = [["a red cat ", "a\0 cat"], [], None, [None, "", "one"]]
    source = url_list(
        tmp_path / "l.parquet", [f"http://h/{i}" for i in range(4)], **{column: captions}
    )
    plan_ingest(corpus, IngestSettings(source=source))
    claim = read_claim(corpus, 0).rows
    assert claim["source.caption"].to_pylist() == ["a red cat", None, None, "one"]
    assert claim["source.captions"].to_pylist() == [["a red cat", "a cat"], None, None, ["one"]]
    assert str(claim.schema.field("source.captions").type).startswith("list<")
    assert "source.caption_error" not in claim.column_names


def test_captions_as_json_arrays_in_a_csv(corpus, tmp_path):
    (tmp_path / "l.csv").write_text(
        'url,caption\nhttp://h/0,"[""a red cat"", ""a cat""]"\nhttp://h/1,"[a red cat, a cat]"\n'
    )
    plan_ingest(corpus, IngestSettings(source=str(tmp_path / "l.csv")))
    claim = read_claim(corpus, 0).rows
    assert claim["source.caption"].to_pylist() == ["a red cat", "[a red cat, a cat]"]
    assert claim["source.captions"].to_pylist() == [["a red cat", "a cat"], None]


def test_a_caption_beside_upstreams_own_captions(corpus, tmp_path):
    source = url_list(
        tmp_path / "l.parquet", ["http://h/0"], caption=["one"], captions=[["one", "two"]]
    )
    plan_ingest(corpus, IngestSettings(source=source))
    claim = read_claim(corpus, 0).rows
    assert claim["source.caption"].to_pylist() == ["one"]
    assert claim["source.captions"].to_pylist() == [["one", "two"]]
    source = url_list(tmp_path / "m.parquet", ["http://h/0"], text=[["a", "b"]], captions=["c"])
    plan_ingest(corpus, IngestSettings(source=source))
    claim = read_claim(corpus, 1).rows
    assert claim["source.captions"].to_pylist() == [["a", "b"]]
    assert claim["source.captions_upstream"].to_pylist() == ["c"]


def test_control_characters_go_out_of_every_text(corpus, tmp_path):
    source = url_list(
        tmp_path / "l.parquet",
        ["http://h/0", "http://h/1"],
        caption=["a\0 cat\x1b[31m", "two\nlines\tkept"],
        title=["x\x9by", None],
        captions=[["p\0q"], None],
    )
    plan_ingest(corpus, IngestSettings(source=source))
    claim = read_claim(corpus, 0).rows
    assert claim["source.caption"].to_pylist() == ["a cat[31m", "two\nlines\tkept"]
    assert claim["source.title"].to_pylist() == ["xy", None]
    assert claim["source.captions"].to_pylist() == [["pq"], None]


def test_a_caption_that_is_too_long_is_a_reason_of_its_row(corpus, tmp_path):
    captions = ["x" * (MOST_CHARACTERS + 1), "y" * MOST_CHARACTERS]
    source = url_list(tmp_path / "l.parquet", ["http://h/0", "http://h/1"], caption=captions)
    plan_ingest(corpus, IngestSettings(source=source))
    claim = read_claim(corpus, 0).rows
    assert claim["source.caption"].to_pylist() == [None, captions[1]]
    assert claim["source.caption_error"].to_pylist() == ["caption_too_long", None]


def test_a_ragged_row_is_a_record_with_its_line(corpus, tmp_path, monkeypatch):
    lines = ["url,caption", *(f"http://h/{i},x{', y' if i == 1 else ''}" for i in range(4))]
    (tmp_path / "l.csv").write_text("\n".join(lines))
    plan = plan_ingest(corpus, IngestSettings(source=str(tmp_path / "l.csv")))
    assert (plan.found, plan.new) == (4, 4)
    assert plan.notes == [
        "1 rows of the list cannot be read: l.csv line 3 (Expected Number of Columns: 2 Found: 3)"
    ]
    asked = []

    def downloaded(urls, settings, folder):
        asked.extend(urls)
        yield from (Download(tiny(i)) for i in range(len(urls)))

    monkeypatch.setattr(fetch, "download", downloaded)
    counts = build_shard(corpus, 0)
    assert asked == ["http://h/0", "http://h/2", "http://h/3"]
    assert counts["reasons"] == {"damaged_row": 1}
    record = rows(corpus)[-1]
    assert (record["key"], record["retryable"]) == ("http://h/1,x, y#0", False)
    assert record["detail"].startswith("l.csv line 3")
    (tmp_path / "m.csv").write_text("url,caption\nhttp://h/1,x,y\n")
    with pytest.raises(RequestError, match=r"no readable rows.*m\.csv line 2"):
        plan_ingest(corpus, IngestSettings(source=str(tmp_path / "m.csv")))


def test_lines_of_a_list_in_utf16(corpus, tmp_path):
    (tmp_path / "l.txt").write_bytes("http://h/ä\nhttp://h/b\n".encode("utf-16"))
    plan_ingest(corpus, IngestSettings(source=str(tmp_path / "l.txt")))
    assert read_claim(corpus, 0).rows["url"].to_pylist() == ["http://h/ä", "http://h/b"]


def test_a_caption_is_a_text_whatever_it_looks_like(corpus, tmp_path):
    lines = ["url,TEXT,n", "http://h/0,yes,7", "http://h/1,no,8", "http://h/2,true,9"]
    (tmp_path / "l.csv").write_text("\n".join(lines))
    plan_ingest(corpus, IngestSettings(source=str(tmp_path / "l.csv")))
    claim = read_claim(corpus, 0).rows
    assert claim["source.caption"].to_pylist() == ["yes", "no", "true"]
    assert claim["source.n"].to_pylist() == [7, 8, 9]
    (tmp_path / "m.csv").write_text("url,title\nhttp://h/0,1.50\nhttp://h/1,2\n")
    settings = IngestSettings(source=str(tmp_path / "m.csv"), caption_column="title")
    plan_ingest(corpus, settings)
    assert read_claim(corpus, 1).rows["source.caption"].to_pylist() == ["1.50", "2"]


@pytest.mark.parametrize("kind", ["txt", "csv", "parquet"])
def test_names_and_passwords_are_not_kept(corpus, tmp_path, kind):
    urls = ["http://me:secret@h/a.png", "https://secret@h:8443/b@c.png", "http://h/d?x=u:p@y"]
    source = tmp_path / f"l.{kind}"
    if kind == "parquet":
        url_list(source, urls)
    else:
        source.write_text("\n".join((["url"] if kind == "csv" else []) + urls) + "\n")
    plan_ingest(corpus, IngestSettings(source=str(source)))
    claim = read_claim(corpus, 0).rows
    clean = ["http://h/a.png", "https://h:8443/b@c.png", "http://h/d?x=u:p@y"]
    assert claim["url"].to_pylist() == claim["source.url"].to_pylist() == clean
    assert claim["key"].to_pylist() == [f"{url}#0" for url in clean]
    assert "secret" not in str(claim.to_pylist())


@pytest.mark.parametrize(
    ("name", "data"),
    [("b.txt.zst", b"no frame"), ("b.txt.gz", gzip.compress(b"http://h/a\n" * 99, mtime=0)[:-9])],
    ids=["zst", "gz"],
)
def test_of_several_texts_the_damaged_one_is_named(corpus, tmp_path, name, data):
    (tmp_path / "a.txt").write_text("http://h/a\n")
    (tmp_path / name).write_bytes(data)
    with pytest.raises(RequestError, match=f": '{name}' cannot be read: ") as told:
        plan_ingest(corpus, IngestSettings(source=f"{tmp_path}/*.txt*"))
    assert "a.txt'" not in str(told.value)

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nucleus_data.errors import RequestError
from nucleus_data.stages.ingest import IngestSettings, plan_ingest
from nucleus_data.stages.ingest.claims import read_claim
from tests.support.ingested import url_list


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
    assert plan.notes == ["binary columns left out: thumbnail"]


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
    with pytest.raises(RequestError, match="captions is for folders"):
        plan_ingest(corpus, IngestSettings(source=str(tmp_path / "e.txt"), captions="x.csv"))

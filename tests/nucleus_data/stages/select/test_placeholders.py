"""The same bytes from many sites, or under many captions: none of them is kept."""

import json

import pyarrow as pa
import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import PAIRS_SCHEMA
from nucleus_data.stages.ingest import fetch as fetch_module
from nucleus_data.stages.ingest.http.outcome import Download
from nucleus_data.stages.select.placeholders import find_placeholders, told_of
from nucleus_data.stages.select.settings import PlaceholderSettings
from tests.support import curated
from tests.support.curated import picture
from tests.support.ingested import ingest, url_list


def told(*rows):
    """Records of shard 0 by URL and caption."""
    columns = {"source.url": [r[0] for r in rows], "source.caption": [r[1] for r in rows]}
    keys = {"shard": pa.array([0] * len(rows), pa.int32())}
    keys["row"] = pa.array(range(len(rows)), pa.int32())
    return told_of(pa.table({**keys, **columns}))


def pairs(*links, exact=True, other=0):
    rows = [
        {"shard": 0, "row": a, "other_shard": other, "other_row": b, "exact": exact}
        for a, b in links
    ]
    return pa.Table.from_pylist(rows, PAIRS_SCHEMA)


def found(links, rows, sites=3, captions=None, **more):
    settings = PlaceholderSettings(sites=sites, captions=captions)
    return find_placeholders(pairs(*links, **more), told(*rows), settings)["row"].to_pylist()


THREE = [(f"http://{host}.test/a.gif", "one caption") for host in "abc"]


def test_many_sites():
    assert found([(1, 0), (2, 1)], THREE) == [0, 1, 2]
    assert found([(1, 0)], THREE) == []
    assert found([(1, 0), (2, 1)], THREE, sites=4) == []
    assert found([(1, 0), (2, 1)], THREE, exact=False) == []
    assert found([(1, 0), (2, 0)], THREE, other=None) == []


def test_each_group_is_counted_by_itself():
    rows = [*THREE, *[("http://a.test/b.gif", "x")] * 3, ("http://d.test/c.gif", None)]
    assert found([(1, 0), (2, 0), (4, 3), (5, 3)], rows) == [0, 1, 2]
    assert found([(1, 0), (6, 0)], rows, sites=2) == [0, 1, 6]
    assert found([(5, 4)], rows, sites=2) == []
    assert found([], rows) == []


def test_hosts_of_one_site_count_once():
    rows = [(f"http://img{n}.site.co.uk/a.gif", "x") for n in range(3)]
    assert found([(1, 0), (2, 1)], rows) == []
    assert found([(1, 0), (2, 0)], [(None, "x"), ("http://[bad", "y"), ("", None)]) == []


def test_many_captions():
    rows = [("http://a.test/1", text) for text in ("A dog", "a cat ", "a dog", None, "a bird")]
    links = [(n, 0) for n in range(1, 5)]
    assert found(links, rows, sites=None, captions=3) == [0, 1, 2, 3, 4]
    assert found(links, rows, sites=None, captions=4) == []
    assert found(links, rows, sites=None, captions=None) == []


@pytest.fixture
def downloaded(tmp_path, monkeypatch):
    """A corpus of URLs: one file from four sites, another one twice, and one alone."""
    given = [1, 1, 1, 1, 2, 2, 3]

    def download(urls, settings, folder):
        return iter([Download(picture(n)) for n in given])

    monkeypatch.setattr(fetch_module, "download", download)
    corpus = Corpus(str(tmp_path / "c"), create=True)
    urls = [f"http://site{n}.test/{n}.png" for n in range(len(given))]
    captions = [f"caption {n}" for n in range(len(given))]
    ingest(corpus, url_list(tmp_path / "l.parquet", urls, caption=captions))
    curated.inspect(corpus)
    return corpus


def selected(corpus, *overrides):
    made = curated.run(corpus.uri, "select", "select.rules={}", *overrides)
    made.do("dedup")
    states = made.select()
    rows = curated.table(corpus, "selection", made.tables["selection"])
    return made.tables["selection"], states, rows


@pytest.mark.slow
def test_none_is_kept(downloaded):
    few = selected(downloaded)  # the thresholds of the recipe are far away
    asked = "select.placeholders={sites: 4, captions: null}"
    hashed, states, rows = selected(downloaded, asked)
    assert [row["state"] for row in rows[:4]] == ["rejected"] * 4
    assert [row["reasons"] for row in rows[:4]] == [["placeholder"]] * 4
    assert rows[0]["conditions"] == ["the same bytes from >= 4 sites"]
    assert json.loads(rows[0]["values"]) == {"sites": 4, "captions": 4}
    assert sorted(row["state"] for row in rows[4:]) == ["duplicate", "kept", "kept"]
    assert states == {"kept": 2, "rejected": 4, "duplicate": 1, "failed": 0, "pending": 0}
    assert few[1] == {"kept": 3, "rejected": 0, "duplicate": 4, "failed": 0, "pending": 0}
    # Where no file can be one, the selection has the name that it had before there was a rule.
    off = selected(downloaded, "select.placeholders={sites: null, captions: null}")
    assert off[0] == few[0] != hashed


@pytest.mark.slow
def test_what_a_rule_rejects_keeps_its_reason(downloaded):
    asked = ["select.placeholders.sites=4", "select.rules={odd: \"source.caption = 'caption 1'\"}"]
    _, _, rows = selected(downloaded, *asked)
    assert [row["reasons"] for row in rows[:3]] == [["placeholder"], ["odd"], ["placeholder"]]

import re

import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.pages import write_report
from tests.support.reported import EVIL, EVIL_NAME, NOON, SELECTION, SET, Text, make


def test_nothing_from_outside_is_interpreted_or_fetched(whole):
    page = whole.page(SET)
    parsed = Text(page)
    assert "<script" not in page
    assert EVIL in parsed.text
    assert EVIL_NAME in parsed.text
    assert "OSError: <gone>" in parsed.text
    for tag, attributes in parsed.tags:
        assert tag not in {"script", "iframe", "object", "form"}
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)
    assert "hunter2" not in page
    assert not re.search(r"@import|url\(", page)


@pytest.mark.slow
def test_the_page_is_a_function_of_the_corpus(whole):
    first = whole.page(SET)
    assert whole.page(SET) == first
    again = Corpus(whole.corpus.uri)
    write_report(again, "first", whole.tables, training_set=SET, made_at=NOON, thumbnails=3)
    assert again.store.read("runs/first/report.html").decode() == first
    assert "2026-01-31 12:00 UTC" in first


def test_quotes_in_paths_and_reasons_are_only_text(tmp_path):
    made = make(tmp_path / "o'brien", ["a.jpg"])
    reason = 'it\'s "odd" <b>'
    row = {**made.key(0), "state": "rejected", "reasons": [reason], "conditions": ["a = 'b'"]}
    made.write("selection", SELECTION, [row])
    parsed = Text(made.page())
    assert reason in parsed.text
    assert [a["alt"] for tag, a in parsed.tags if tag == "img"] == ["a.jpg"]


@pytest.mark.slow
def test_an_object_store_gives_the_same_page(tmp_path):
    pages = []
    for uri in (str(tmp_path / "corpus"), f"memory://{tmp_path.name}"):
        made = make(uri, ["a.jpg", None], ["a caption", None])
        decisions = [{"state": "kept"}, {"state": "failed", "reasons": ["http_404"]}]
        made.write("selection", SELECTION, [{**made.key(n), **d} for n, d in enumerate(decisions)])
        made.write_caption("short", [made.caption(0, "a red field")])
        pages.append(made.page().replace(uri, "CORPUS"))
    assert "data:image/jpeg" in pages[0]
    assert pages[0] == pages[1]

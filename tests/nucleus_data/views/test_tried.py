"""`nucleus caption --try`: a page of pictures with every variant's captions, into no table."""

import re

import pytest

from nucleus_data.errors import RequestError
from nucleus_data.views.tried import try_captions
from tests.support.reported import Text
from tests.support.routed import captioning, curated_copy

LOOP = "a red ring " * 40
EVIL = "A <script>alert(1)</script> & ring \x00\x1b[31m \ud800 lies on the lawn."
VARIANTS = (
    "caption.variants={short: {prompt: short, where: width < 9}, "
    "brief: {prompt: very_short_from, from: short}, refined: {prompt: refine}}"
)


@pytest.fixture
def corpus(tmp_path_factory, tmp_path):
    return curated_copy(tmp_path_factory, tmp_path)


@pytest.mark.slow
def test_the_page_shows_questions_attempts_and_checks_and_nothing_is_stored(
    corpus, monkeypatch, tmp_path
):
    answers = {
        "0/0/short": [{"text": LOOP}, {"text": "A ring."}],
        "1/0/short": {"text": LOOP},
        "2/1/refined": {"text": EVIL},
        "0/1/refined": {"error": "no room"},
    }
    made, _, asked = captioning(corpus, monkeypatch, VARIANTS, answers=answers, dry_run=True)
    before = sorted(p for p in (tmp_path / "c").rglob("*") if p.is_file())
    page = tmp_path / "page.html"
    lines = list(try_captions(made.run, made.stages, 6, page))
    assert lines[-1] == str(page)
    assert sorted(p for p in (tmp_path / "c").rglob("*") if p.is_file()) == before
    assert len({key.rsplit("/", 2)[0] for key in asked()}) == 6
    html = page.read_text(encoding="utf-8")
    text = Text(html).text
    assert "6 pictures by 3 variants" in text
    assert html.count('<img src="data:image/jpeg;base64,') == 6
    assert "Someone wrote of this image: picture 0-0" in text, "the question as it was asked"
    assert "attempt 1: repetition" in re.sub(r"\s+", " ", text)
    assert "attempt 2: taken" in re.sub(r"\s+", " ", text)
    assert html.count("a run would not ask</span>") == 12, "short by where, brief as its child"
    assert "parent_failed" in text
    assert "no room" in text
    assert "<script>" not in html
    assert "alert(1)" in text
    assert "\x1b" not in html
    assert "\x00" not in html
    captions = sum(1 for _ in re.finditer("<blockquote", html)) - 6  # those that came with
    assert lines[-2] == f"caption: made {captions} of 18 captions for 6 pictures"


@pytest.mark.slow
def test_the_same_pictures_are_shown_each_time(corpus, monkeypatch, tmp_path):
    found = []
    for count in (2, 2, 4):
        made, _, asked = captioning(corpus, monkeypatch, VARIANTS, dry_run=True)
        list(try_captions(made.run, made.stages, count, tmp_path / "page.html"))
        found.append({key.rsplit("/", 2)[0] for key in asked()})
    assert found[0] == found[1] < found[2]
    assert [len(each) for each in found] == [2, 2, 4]


def test_captions_that_are_stored_are_made_anew_and_stay(corpus, monkeypatch, tmp_path):
    done, _, _ = captioning(corpus, monkeypatch, "caption.variants={short: {prompt: short}}")
    done.do("caption")
    made, _, asked = captioning(
        corpus, monkeypatch, "caption.variants={short: {prompt: short}}", dry_run=True
    )
    list(try_captions(made.run, made.stages, 3, tmp_path / "page.html"))
    assert len(asked()) == 3


def test_a_page_that_can_not_be_written_is_told_before_anything_is_asked(
    corpus, monkeypatch, tmp_path
):
    made, _, _ = captioning(corpus, monkeypatch, VARIANTS, dry_run=True)
    monkeypatch.setattr("nucleus_data.views.tried.set_up", None)  # no model is loaded
    with pytest.raises(RequestError, match="can't be written: there is no folder"):
        list(try_captions(made.run, made.stages, 1, tmp_path / "no" / "page.html"))
    with pytest.raises(RequestError, match="can't be written: it is a folder"):
        list(try_captions(made.run, made.stages, 1, tmp_path))

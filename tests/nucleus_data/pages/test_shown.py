import json
import re

import pytest

from nucleus_data.line.recipe import load_recipe
from tests.support.curated import NANO
from tests.support.reported import SELECTION, Text, make


def section(page, name):
    """The HTML of one section."""
    found = re.search(rf'<section id="{name}">.*?</section>', page, re.DOTALL)
    return found[0] if found else ""


def pictures(html):
    return [dict(a)["alt"] for tag, a in Text(html).tags if tag == "img"]


@pytest.mark.slow
def test_what_is_kept_is_shown_with_captions(tmp_path):
    names = [f"{n}.jpg" for n in range(9)]
    made = make(tmp_path / "c", names, ["<b>bold</b>", *[None] * 8])
    made.write("selection", SELECTION, [{**made.key(n), "state": "kept"} for n in range(9)])
    kept = section(made.page(), "kept")
    shown = pictures(kept)
    assert len(shown) == 3
    assert "and 6 more" in Text(kept).text
    # Others than those beside all their captions, as long as there are others.
    assert not set(shown) & set(pictures(section(made.page(), "captions")))
    made.write_caption("short", [made.caption(n, f"a field number {n}") for n in range(9)])
    kept = section(made.page(), "kept")
    said = re.findall(r'class="said" dir="auto">([^<]*)', kept)
    texts = dict(zip(pictures(kept), said, strict=True))
    assert {name: f"a field number {name[0]}" for name in texts if name != "0.jpg"} == {
        name: text for name, text in texts.items() if name != "0.jpg"
    }
    assert len(texts) == 3
    assert "mean nothing" in Text(kept).text


def test_the_few_that_are_kept_are_shown_whatever_is_shown_below(tmp_path):
    made = make(tmp_path / "c", ["a.jpg"], ["<b>bold</b>"])
    made.write("selection", SELECTION, [{**made.key(0), "state": "kept"}])
    kept = section(made.page(), "kept")
    assert pictures(kept) == ["a.jpg"]
    assert "<b>bold</b>" in Text(kept).text
    assert "more" not in Text(kept).text


@pytest.mark.slow
def test_what_is_flagged_or_has_no_answer_or_waits_is_shown(whole):
    rule = {"where": "edge_width > 4", "action": "flag", "reason": "soft edges"}
    rules = {"soft": rule, "blur": {**rule, "where": "edge_width > 9"}}
    plan = {"command": "curate", "config": {"select": {"rules": rules}}}
    whole.corpus.store.put("runs/first/plan.json", json.dumps(plan).encode())
    page = whole.page()
    flags = section(page, "flags")
    text = Text(flags).text
    assert len(pictures(flags)) == 1
    for words in ("soft", "edge_width > 4", "soft edges", "kept"):
        assert words in text
    assert pictures(section(page, "nulls")) == ["1.jpg"]
    assert "flags when edge_width > 9" in " ".join(Text(section(page, "nulls")).text.split())
    assert pictures(section(page, "pending_on")) == ["7.jpg"]
    for name in ("flags-1", "nulls-1", "pending_on-1"):
        assert f'<a href="#{name}">' in page
        assert f'id="{name}"' in page


def test_the_page_tells_commands_that_work(tmp_path):
    made = make(tmp_path / "it's", ["a.jpg"])
    load_recipe(NANO, [f"corpus={made.corpus.uri}", "rules.a=width < 3"])
    text = Text(made.page()).text
    told = f"nucleus select corpus='{tmp_path}/it'\"'\"'s' --config {NANO} rules.a='width < 3'"
    assert told in text


def test_no_value_is_a_word_of_python(tmp_path):
    made = make(tmp_path / "c", ["a.jpg"])
    row = {**made.key(0), "state": "rejected", "reasons": ["r"], "conditions": ["a OR b"]}
    made.write("selection", SELECTION, [{**row, "values": '{"a": null, "b": true}'}])
    text = Text(section(made.page(), "reasons")).text
    assert "no value" in text
    assert "None" not in text
    assert "True" not in text

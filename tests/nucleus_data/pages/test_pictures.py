import re

import pytest

from tests.support.reported import EVIL_NAME, Text


def test_pictures_are_shown_and_failures_have_placeholders(whole):
    parsed = Text(whole.page())
    shown = {a["alt"] for tag, a in parsed.tags if tag == "img"}
    assert {"4.jpg", "5.jpg", EVIL_NAME} <= shown
    assert "broken.gif" not in shown
    assert "killer.jpg" not in shown, "what failed is not decoded again"
    assert re.search(r"(truncated|corrupt): .* broken.gif", parsed.text)
    assert "http_404: no such <page>" in parsed.text


@pytest.mark.slow
def test_a_changed_tar_costs_its_pictures_not_the_page(whole):
    tar = whole.corpus.store.read("images/000000.tar")
    whole.corpus.store.put("images/000000.tar", tar[:-1] + b"x")
    assert whole.page().count("data:image/jpeg") > 3, "a byte after the pictures changes none"
    whole.corpus.store.put("images/000000.tar", tar.replace(b"\xff\xd9", b"\xff\xd8"))
    page = whole.page()
    assert "data:image/jpeg" not in page
    assert "no longer has the SHA-256" in page
    whole.corpus.store.remove("images/000000.tar")
    assert "images/000000.tar is missing" in whole.page()

import re
from pathlib import Path

import pytest

from nucleus_data.errors import RequestError
from nucleus_data.views.pairs import show_pairs
from tests.support import curated
from tests.support.released import earlier_release, later_corpus
from tests.support.reported import EVIL_NAME, Text


def test_the_page_shows_pairs_of_each_distance(tmp_path):
    release, corpus = earlier_release(tmp_path / "release"), later_corpus(tmp_path / "own")
    against = f"dedup.against={{old: '{release.uri}'}}"
    run = curated.run(corpus.uri, "pairs", against)
    with pytest.raises(RequestError, match="run: nucleus dedup corpus="):
        list(show_pairs(run, run.stages["dedup"], 3))
    run.do("dedup")
    *lines, url = show_pairs(run, run.stages["dedup"], 3)
    rows = curated.table(corpus, "dedup", run.tables["dedup"])
    assert lines[0] == f"{len(rows)} pairs among 6 records"
    assert len(rows) >= 4
    assert lines[1].split() == ["equal", "files", "2"]
    page = Path(url).read_text(encoding="utf-8")
    text = Text(page)
    assert "equal files" in text.text
    assert "in another corpus" in text.text
    assert EVIL_NAME not in page
    assert len(re.findall("<img ", page)) == sum(1 + (row["other_id"][3] != ":") for row in rows)

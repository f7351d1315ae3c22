import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nucleus_data.errors import RequestError
from nucleus_data.views.pairs import show_pairs
from nucleus_data.world.corpora import small_corpus, write_shard
from tests.support import curated
from tests.support.looked_at import RULES
from tests.support.released import earlier_release, later_corpus
from tests.support.reported import EVIL_NAME, Text


def test_the_page_shows_pairs_of_each_distance(tmp_path):
    release, corpus = earlier_release(tmp_path / "release"), later_corpus(tmp_path / "own")
    against = f"dedup.against={{old: '{release.uri}'}}"
    run = curated.run(corpus.uri, "pairs", against)
    with pytest.raises(RequestError, match="run: nucleus dedup corpus="):
        list(show_pairs(run.run, run.stages["dedup"], run.stages["select"], 3))
    run.do("dedup")
    *lines, url = show_pairs(run.run, run.stages["dedup"], run.stages["select"], 3)
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


def page_of(run):
    *lines, url = show_pairs(run.run, run.stages["dedup"], run.stages["select"], 9)
    return lines, Path(url).read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_page_says_who_stays_and_why(corpus):
    run = curated.run(corpus.uri, "pairs", RULES, "select.prefer=[width * height desc]")
    run.do("dedup")
    lines, page = page_of(run)
    assert "run: nucleus select corpus=" in lines[-1]
    assert "is not decided for the tables and rules as they are now" in page
    run.do("select")
    lines, page = page_of(run)
    assert lines[-1] == f"which copy is kept is decided by selection {run.tables['selection']}"
    text = Text(page).text
    assert "largest.png stays: width * height desc: 38,400 against 9,600" in text
    # `tiny.png` is rejected by a rule, so it is dropped for nobody.
    assert "tiny.png is rejected (small)" in text
    figures = re.findall(r'<figure class="shot( survivor)?">.*?</figure>', page, re.DOTALL)
    assert {bool(kept) for kept in figures} == {True, False}
    for figure in re.findall(r'<figure class="shot.*?</figure>', page, re.DOTALL):
        stays = ">stays</span>" in figure
        assert stays == ('"shot survivor"' in figure) == ('alt="largest.png"' in figure)


@pytest.mark.slow
def test_by_the_default_order_a_better_copy_stays_and_why_is_told(corpus):
    run = curated.run(corpus.uri, "pairs", RULES)
    run.do("dedup", "select")
    _, page = page_of(run)
    assert "largest.png stays: it has more pixels inside its borders" in Text(page).text


@pytest.mark.slow
def test_what_another_corpus_has_stays(tmp_path):
    release, corpus = earlier_release(tmp_path / "release"), later_corpus(tmp_path / "own")
    run = curated.run(corpus.uri, "pairs", f"dedup.against={{old: '{release.uri}'}}")
    run.do("dedup", "select")
    _, page = page_of(run)
    assert "the one of the other corpus stays" in Text(page).text


def test_copies_that_are_all_kept_are_told(corpus):
    run = curated.run(corpus.uri, "pairs", RULES, "select.drop_duplicates=false")
    run.do("dedup", "select")
    _, page = page_of(run)
    assert "both stay: neither is dropped for the other" in Text(page).text


@pytest.mark.slow
def test_a_long_name_does_not_widen_its_picture(tmp_path):
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("needs chromium")
    corpus = small_corpus(tmp_path / "c", shards=0)
    image = curated.picture(1, (120, 80))
    write_shard(corpus, 0, {"x" * 200 + ".png": image, "y" * 200 + ".png": image})
    curated.inspect(corpus)
    run = curated.run(corpus.uri, "pairs")
    run.do("dedup")
    *_, url = show_pairs(run.run, run.stages["dedup"], run.stages["select"], 9)
    shot = tmp_path / "page.png"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    options += [f"--user-data-dir={tmp_path}/profile", "--hide-scrollbars"]
    subprocess.run(
        [browser, *options, "--window-size=1200,900", f"--screenshot={shot}", Path(url).as_uri()],
        capture_output=True,
        timeout=120,
        check=True,
    )
    # The page's padding is 28 pixels wide: nothing is drawn there.
    margin = np.asarray(Image.open(shot).convert("RGB"))[:, -20:].reshape(-1, 3)
    assert len(np.unique(margin, axis=0)) == 1

"""`nucleus caption --try`, `--dry-run`, and the options of `nucleus retry caption`."""

import pytest

from nucleus_data.stages.caption import stage as module
from tests.support.captions.standin import StandIn, answering
from tests.support.command import nucleus, work_here
from tests.support.routed import curated_copy, sensible
from tests.support.stepped import BARE

LOOP = {"text": "a red ring " * 40}


@pytest.fixture
def corpus(tmp_path_factory, tmp_path, monkeypatch):
    work_here(monkeypatch)
    engine = StandIn(say=answering({"0/0/short": LOOP, "1/0/long": LOOP}, sensible))
    monkeypatch.setattr(module, "load_engine", lambda settings: engine)
    made = curated_copy(tmp_path_factory, tmp_path)
    made.asked = lambda: sorted(key for key, *_ in engine.submitted)
    return made


@pytest.mark.slow
def test_trial_captions_are_on_a_page(corpus, tmp_path):
    page = tmp_path / "page.html"
    said = nucleus("caption", "--try", 2, "--out", page, f"corpus={corpus.uri}", BARE)
    assert said.splitlines()[-1] == str(page)
    assert "2 pictures by 2 variants" in page.read_text()
    assert corpus.store.list("tables/caption.short") == []
    assert len({key.rsplit("/", 2)[0] for key in corpus.asked()}) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("caption", "--try", 2, "--dry-run"), "--try PICTURES cannot be used with --dry-run"),
        (("caption", "--out", "page.html"), "--out can only be used with --try"),
        (("caption", "--try", 0), "is not in the range"),
        (("retry", "inspect", "--check", "repetition"), "apply to captions only"),
        (("retry", "--variant", "short"), "apply to captions only"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments, said, tmp_path):
    assert said in nucleus(*arguments, f"corpus={tmp_path}", code=2)


@pytest.mark.slow
def test_a_dry_run_tells_the_costs(corpus):
    said = nucleus("caption", "--dry-run", f"corpus={corpus.uri}", BARE, "caption.rate=2")
    assert "  short: 6 captions, " in said
    assert "6 s at 2 captions a second (caption.rate)" in said
    assert corpus.asked() == []


@pytest.mark.slow
def test_retry_asks_for_one_check_and_variant_or_by_a_condition(corpus):
    place = (f"corpus={corpus.uri}", BARE)
    nucleus("caption", *place)
    first = len(corpus.asked())
    said = nucleus("retry", "caption", "--check", "repetition", "--variant", "short", *place)
    assert "caption.short: 1 to generate again" in said
    assert [key for key in corpus.asked() if key.endswith(("/3", "/4", "/5"))] == [
        f"0/0/short/{number}" for number in (3, 4, 5)
    ]
    assert len(corpus.asked()) == first + 3
    where = "caption LIKE '%2/1/%'"
    said = nucleus("retry", "caption", "--where", where, "--variant", "long", *place)
    assert "caption.long: 1 to generate again" in said
    assert len(corpus.asked()) == first + 4
    assert "no such check" in nucleus("retry", "caption", "--check", "x", *place, code=2)


@pytest.mark.slow
def test_what_a_run_says_of_each_table_is_a_line_of_its_own(corpus):
    given = "caption.variants={short: {prompt: short, where: width < 9}}"
    said = nucleus("caption", f"corpus={corpus.uri}", BARE, given).splitlines()
    assert "  caption.short: due for 0; left out: 6 for which `where` is false" in said

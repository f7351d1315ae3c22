"""Two caption sets compared: sums that were counted by hand, and the page."""

import re

import pyarrow as pa
import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import FAILED_SCHEMA
from nucleus_data.errors import RequestError
from nucleus_data.pages.captions_diff import marked
from nucleus_data.views.captions_diff import diff, lines
from nucleus_data.world.corpora import write_shard
from tests.support import curated
from tests.support.captioned_sets import RULES, import_texts
from tests.support.curated import picture
from tests.support.reported import EVIL, Text

OLD = "0123456789abcdef"
FIRST = [
    "A red cat on a mat",
    "the same text",
    "The Same  Text",
    EVIL,
    "only here",
    None,
    "!!!",
    "مرحبا بالعالم",
]
SECOND = [
    "A blue cat on a mat by a lake",
    "the same text",
    "the same text",
    "a\nplain   caption",
    None,
    "only there",
    "???",
    "مرحبا",
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    corpus = Corpus(str(tmp_path_factory.mktemp("diff") / "c"), create=True)
    images = {f"{i}.png": picture(i) for i in range(len(FIRST))}
    images["broken.png"] = picture(9)[:60]
    write_shard(corpus, 0, images)
    curated.inspect(corpus)
    run = curated.run(corpus.uri, "diff", RULES)
    run.do("dedup", "select")
    keys = dict(corpus.table("records").project("key, id").fetchall())

    def by_id(texts):
        named = {keys[f"{i}.png"]: text for i, text in enumerate(texts)}
        return named

    curated.write_captions(corpus, OLD, "short", {**by_id(FIRST), keys["broken.png"]: "a broken"})
    now = {i: text for i, text in by_id(SECOND).items() if i != keys["5.png"]}
    now |= {keys["5.png"]: "only there", keys["broken.png"]: "the broken"}
    curated.write_captions(corpus, run.tables["caption.short"], "short", now)
    # Of picture 0 there is a caption by now; picture 4 was refused and has none of the old ones.
    failed = [{"shard": 0, "row": n, "id": keys[f"{n}.png"], "reason": "refusal"} for n in (0, 4)]
    old = corpus.at("caption.short", "f" * 16)
    curated.write_captions(corpus, old.config_hash, "short", {keys["0.png"]: "a cat"})
    old.failed.append(0, pa.Table.from_pylist(failed, FAILED_SCHEMA), {})
    return run


@pytest.fixture(scope="module")
def found(made):
    return diff(made.run, "short@01234567", "short", None, 3)


@pytest.mark.slow
def test_the_counts_are_right(found):
    counts = found["counts"]
    assert (counts["records"], counts["first"], counts["second"]) == (9, 8, 8)
    assert (counts["both"], counts["only_first"], counts["only_second"]) == (7, 1, 1)
    assert (counts["same"], counts["same_but_case"]) == (1, 1)
    assert found["failures"]["first"]["reasons"] == {"caption_empty": 1}
    assert found["failures"]["second"]["reasons"] == {"caption_empty": 1}


@pytest.mark.slow
def test_words_and_lengths_are_right(found):
    first = found["lengths"]["first"]
    # 6, 3, 3, 4 (script alert caption script), 2, 0, 2 and "a broken"
    assert (first["captions"], first["mean"], first["p95"]) == (8, 2.75, 6)
    words = {
        w["word"]: (w["before"], w["after"]) for k in ("gained", "lost") for w in found["words"][k]
    }
    assert words["blue"] == (0, 1)
    assert words["red"] == (1, 0)
    assert words["بالعالم"] == (1, 0)
    assert "cat" not in words
    assert "only" not in words  # of records that have both


@pytest.mark.slow
def test_overlap_is_of_different_words(found):
    by_text = {e["first"]: e["overlap"] for e in found["examples"] if e["overlap"] is not None}
    assert by_text.get("!!!", 0.0) == 0.0
    assert by_text.get(EVIL, 1 / 3) == pytest.approx(1 / 3)  # `caption`
    # cat: {a red cat on mat} and {a blue cat on mat by lake}: 2 * 4 / 12; arabic 2/3; broken 1/2
    expected = (8 / 12 + 1 + 1 + 1 / 3 + 0 + 2 / 3 + 1 / 2) / 7
    assert found["overlap"]["mean"] == pytest.approx(expected, abs=1e-6)
    assert sum(found["overlap"]["bins"]) == 7


@pytest.mark.slow
def test_failures_that_may_pass_are_counted_apart(made, tmp_path):
    found = diff(made.run, "short@ffffffff", "short", tmp_path / "page.html", 1)
    first = found["failures"]["first"]
    assert (first["reasons"], first["retryable"]) == ({}, {"refusal": 1})
    assert found["failures"]["second"]["retryable"] == {}
    assert "short@ffffffff without a caption, temporarily: 1 refusal" in [*lines(found)]
    page = Text((tmp_path / "page.html").read_text("utf-8"))
    assert "no caption, may pass: refusal 1 0" in page.text


PASSED = {
    "d" * 16: [
        {"checks": ["refusal", "language"]},
        {"checks": ["refusal"]},
        {"checks": [], "finish_reason": "length"},
    ],
    "e" * 16: [
        {"checks": ["refusal", "repetition"], "finish_reason": "length"},
        {"checks": ["repetition"], "finish_reason": "length"},
        {"checks": ["repetition"]},
    ],
}


def test_checks_that_passed_and_captions_that_were_cut_are_counted(made, tmp_path):
    ids = sorted(i for (i,) in made.corpus.table("records").project("id").fetchall())[:3]
    for config_hash, more in PASSED.items():
        by_id = dict(zip(ids, more, strict=True))
        curated.write_captions(
            made.corpus, config_hash, "short", dict.fromkeys(ids, "a cat"), by_id
        )
    found = diff(made.run, "short@dddddddd", "short@eeeeeeee", tmp_path / "page.html", 1)
    first, second = (found["failures"][side] for side in ("first", "second"))
    assert (first["checks"], first["cut"]) == ({"refusal": 2, "language": 1}, 1)
    assert (second["checks"], second["cut"]) == ({"refusal": 1, "repetition": 3}, 2)
    page = Text((tmp_path / "page.html").read_text("utf-8")).text
    assert "cut at the limit of tokens 1 2 " in page
    assert "passed: repetition 0 3 passed: refusal 2 1 passed: language 1 0 " in page
    said = [*lines(found)]
    assert "short@dddddddd cut at the token limit: 1" in said
    assert "short@eeeeeeee cut at the token limit: 2" in said


@pytest.mark.slow
def test_the_sample_is_the_same_each_time(made, found):
    again = diff(made.run, "short@01234567", "short", None, 3)
    assert again["examples"] == found["examples"]
    kinds = [e["kind"] for e in found["examples"]]
    assert kinds == ["different"] * 3 + ["random"] * 3 + ["only_first", "only_second"]
    assert [e["first"] for e in found["examples"][:3]] == ["!!!", EVIL, "a broken"]


def test_the_page_shows_captions_and_runs_none_of_them(made, found):
    page = made.corpus.store.read(made.path("captions_diff.html")).decode()
    shown = Text(page)
    assert EVIL.replace(" ", "") in shown.text.replace(" ", "")  # its words are marked
    assert "<script" not in page
    assert "only there" in shown.text
    assert "no caption: caption_empty" in shown.text
    marks = re.findall(r"<mark>([^<]*)</mark>", page)
    assert any("مرحبا" not in mark and "بالعالم" in mark for mark in marks)
    images = [attrs for tag, attrs in shown.tags if tag == "img"]
    assert images
    assert all(attrs["src"].startswith("data:") for attrs in images)
    assert "default-src 'none'" in page


def test_the_numbers_are_said(found):
    said = "\n".join(lines(found))
    assert "7 records have both, 1 only short@01234567, 1 only short@" in said
    assert "words per caption (5th to 95th percentile): 2.8 (0 to 6) -> " in said
    assert "add short@01234567, short@" in said
    assert "not stored for" in said


def test_a_word_without_end_is_shortened(found):
    gained = [{"word": "x" * 3000, "before": 0, "after": 1}]
    said = list(lines({**found, "words": {"gained": gained, "lost": []}}))
    assert f"words gained: {'x' * 39}… 0 -> 1" in said


@pytest.mark.parametrize(
    ("first", "second", "one", "other"),
    [
        ("a red cat", "a blue cat", ["red"], ["blue"]),
        ("a Cat", "a cat", [], []),
        ("a cat", "a cat by the lake", [], [" by the lake"]),
        ("一只猫", "一只狗", ["一只猫"], ["一只狗"]),
        ("x", "", ["x"], []),
        ("it's here", "it is here", ["it's"], ["it is"]),
        ("\u202e a", "a", ["\\u202e"], []),
    ],
)
def test_changed_words_are_marked(first, second, one, other):
    found = marked(first, second)
    for pieces, words in zip(found, (one, other), strict=True):
        changed = [piece for mark, piece in pieces if mark]
        assert [c.strip() for c in changed] == [w.strip() for w in words]


def test_a_set_without_captions_is_refused(made):
    with pytest.raises(RequestError, match=r"long@.* has no captions .*captions list"):
        diff(made.run, "short", "long", None, 3)


@pytest.mark.slow
def test_sets_without_a_record_in_common_are_compared(made, tmp_path):
    ids = sorted(i for (i,) in made.corpus.table("records").project("id").fetchall())
    for name, ident in (("left", ids[0]), ("right", ids[1])):
        import_texts(made.corpus, tmp_path, {ident: "a cat"}, name)
    found = diff(made.run, "left", "right", tmp_path / "page.html", 3)
    counts = found["counts"]
    assert (counts["both"], counts["only_first"], counts["only_second"]) == (0, 1, 1)
    assert found["overlap"]["mean"] is None
    assert "0 records have both, 1 only left@" in "\n".join(lines(found))
    assert "only in the first" in (tmp_path / "page.html").read_text()

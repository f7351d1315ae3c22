import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner

from nucleus_data.commands import cli
from nucleus_data.corpus.tables import Table
from nucleus_data.errors import RequestError
from nucleus_data.stages.select.stage import published_selection
from nucleus_data.views import compare
from tests.support import curated
from tests.support.reported import EVIL_NAME, Text
from tests.support.selecting import decided, reasons, rules

RULES = "select.rules={small: 'least(width, height) < 32', bad: \"source.caption = 'bad'\"}"


def select(corpus, *overrides):
    made = curated.run(corpus.uri, "select", RULES, *overrides)
    made.do("dedup")
    made.select()
    return made


def what_if(corpus, *overrides, said=None, **options):
    """The counts of a what-if against the selection that `select` makes."""
    base = compare.without_select(overrides)
    made = curated.run(corpus.uri, "what-if", RULES, *base, said=said, **options)
    return compare.what_if(made.run, made.recipe, curated.recipe(corpus.uri, RULES, *overrides))


def diff(corpus, first, second):
    return compare.diff(curated.run(corpus.uri, "diff").run, first, second, 12)


def files(folder):
    return {p: p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def states(content):
    """The states that change."""
    return {
        (s["before"], s["after"]): s["records"]
        for s in content["states"]
        if s["before"] != s["after"]
    }


@pytest.mark.slow
def test_a_changed_threshold(corpus):
    select(corpus)  # kept: largest, evil, wide; duplicate: middle
    content = what_if(corpus, "rules.small=least(width, height) < 62")
    assert states(content) == {("kept", "rejected"): 1}
    assert (content["records"], content["changed"], content["otherwise"]) == (7, 1, 0)
    assert reasons(content, "leaving") == {("rejected", "small"): 1}
    assert content["entering"] == {"records": 0, "reasons": []}
    assert rules(content) == {"small": (1, 0)}
    change = {
        "key": "rules.small",
        "before": "least(width, height) < 32",
        "after": "least(width, height) < 62",
    }
    assert content["changes"] == [change]


@pytest.mark.slow
def test_a_record_that_a_second_rule_rejects_does_not_change_its_state(corpus):
    select(corpus)
    content = what_if(corpus, "rules.new=width <= 96 AND source.caption = 'bad'")
    assert (content["changed"], content["otherwise"]) == (0, 1)
    assert rules(content) == {"new": (1, 0)}


@pytest.mark.slow
def test_a_rule_added_and_one_removed(corpus):
    select(corpus)
    content = what_if(corpus, "rules.wide=aspect > 2", "rules.bad=null")
    assert states(content) == {("kept", "rejected"): 1, ("rejected", "kept"): 1}
    assert reasons(content, "leaving") == {("rejected", "wide"): 1}
    assert reasons(content, "entering") == {("rejected", "bad"): 1}
    assert rules(content) == {"bad": (0, 1), "wide": (1, 0)}
    assert {c["key"]: (c["before"], c["after"]) for c in content["changes"]} == {
        "rules.bad": ("source.caption = 'bad'", "none"),
        "rules.wide": ("none", "aspect > 2"),
    }


@pytest.mark.slow
def test_a_copy_stays_when_its_survivor_is_rejected(corpus):
    select(corpus)
    content = what_if(corpus, "rules.big=width > 200")
    assert states(content) == {("kept", "rejected"): 1, ("duplicate", "kept"): 1}
    assert reasons(content, "leaving") == {("rejected", "big"): 1}
    assert reasons(content, "entering") == {("duplicate", "duplicate"): 1}


@pytest.mark.slow
def test_another_order_of_preference_and_no_walk(corpus):
    select(corpus)
    content = what_if(corpus, "prefer=[width * height asc]")
    assert states(content) == {("kept", "duplicate"): 1, ("duplicate", "kept"): 1}
    assert content["changes"][0]["key"] == "prefer"
    content = what_if(corpus, "drop_duplicates=false")
    assert states(content) == {("duplicate", "kept"): 1}


@pytest.mark.slow
def test_a_rule_on_what_is_not_measured_is_pending(corpus):
    base = (RULES, "select.prefer=[width * height desc]")  # the default order reads tone too
    made = curated.run(corpus.uri, "select", *base)
    made.do("dedup")
    made.select()
    for folder in Path(corpus.uri, "tables/inspect.tone").iterdir():
        for part in folder.iterdir():
            part.unlink()
    made = curated.run(corpus.uri, "what-if", *base)
    dark = curated.recipe(corpus.uri, *base, "select.rules.dark=luma_mean < 3")
    content = compare.what_if(made.run, made.recipe, dark)
    assert states(content) == {("kept", "pending"): 3, ("duplicate", "pending"): 1}
    assert reasons(content, "leaving") == {("pending", "inspect.tone"): 3}


@pytest.mark.slow
def test_by_source(corpus):
    first = corpus.records.read(0)
    web = pa.array(["web" if key == "wide.png" else "own" for key in first["key"].to_pylist()])
    assert set(web.to_pylist()) == {"own"}
    part = Path(corpus.records.store.path(f"{corpus.records.folder}/000000-0.parquet"))
    footer = next(iter(corpus.records.metadata(0)))
    part.unlink()
    corpus.records.append(
        0,
        first.set_column(first.column_names.index("source"), "source", web),
        {k: v for k, v in footer.items() if k.startswith("tar")},
    )
    select(corpus)
    content = what_if(corpus, "rules.wide=aspect > 2", "rules.bad=null")
    lines = {s.pop("source"): s for s in content["sources"]}
    own = {"records": 5, "kept_before": 1, "kept_after": 2, "leaving": 0, "entering": 1}
    test = {"records": 2, "kept_before": 2, "kept_after": 1, "leaving": 1, "entering": 0}
    assert lines == {"own": {**own, "changed": 1}, "test": {**test, "changed": 1}}


@pytest.mark.slow
def test_what_if_says_what_select_would_do_and_changes_no_table(corpus):
    made = select(corpus)
    before = files(Path(corpus.uri, "tables"))
    changed = ("rules.wide=aspect > 2", "rules.big=width > 200", "rules.bad=null")
    content = what_if(corpus, *changed)
    assert files(Path(corpus.uri, "tables")) == before
    run = corpus.runs()[-1]
    assert sorted(corpus.store.list(f"runs/{run}")) == [
        *("owner", "plan.json", "stages.jsonl", "what_if.html", "what_if.json")
    ]
    kept = json.loads(corpus.store.read(f"runs/{run}/what_if.json"))
    assert kept["states"] == content["states"]
    later = select(corpus, *changed)
    assert content["after"]["selection"] == later.tables["selection"]
    assert content["before"]["selection"] == made.tables["selection"]
    assert sum(states(content).values()) == content["changed"] == 4
    after = Counter()
    for item in content["states"]:
        after[item["after"]] += item["records"]
    there = published_selection(corpus.store, later.tables["selection"])["states"]
    assert {s: n for s, n in there.items() if n} == dict(after)
    # What is decided already is compared as it is.
    before = files(Path(corpus.uri, "tables"))
    assert what_if(corpus, *changed)["states"] == content["states"]
    assert files(Path(corpus.uri, "tables")) == before
    # The run of a what-if pins the selection that there is, as a run that only looked at it.
    plan = json.loads(corpus.store.read(f"runs/{run}/plan.json"))
    assert plan["tables"]["selection"] == made.tables["selection"]


@pytest.mark.slow
def test_a_what_if_of_which_a_shard_fails_leaves_nothing(corpus, monkeypatch):
    select(corpus)

    def broken(self, number):
        raise OSError("away")

    monkeypatch.setattr("nucleus_data.stages.select.what_if.WhatIfTask.run", broken)
    assert what_if(corpus, "rules.wide=aspect > 2") == {}
    assert "what_if" not in corpus.store.list(f"runs/{corpus.runs()[-1]}")


@pytest.mark.slow
def test_without_a_selection_the_command_is_told(corpus):
    with pytest.raises(RequestError, match=r"no selection .* run: nucleus select corpus="):
        what_if(corpus, "rules.wide=aspect > 2")
    select(corpus)
    with pytest.raises(RequestError, match=r"reads 'widht', which is not in any table"):
        what_if(corpus, "rules.wide=widht > 2")
    with pytest.raises(RequestError, match="no selection"):
        what_if(corpus, "rules.wide=aspect > 2", limit=3)
    said = []
    assert what_if(corpus, "rules.wide=aspect > 2", said=said, dry_run=True) == {}
    assert said == ["what-if: 3 rules, 2 shards to decide about"]


TIERS = "select.tiers={score: width, bounds: [90, 200]}"


@pytest.mark.slow
def test_tiers_of_what_is_kept(corpus):
    select(corpus)  # kept: largest (width 240), evil (96), wide (150)
    content = what_if(corpus, TIERS, "rules.wide=aspect > 2", "rules.bad=null")
    assert content["tiers"] == [
        {"tier": "A2", "kept_before": 0, "kept_after": 1, "leaving": 0, "entering": 0},
        {"tier": "A1", "kept_before": 0, "kept_after": 2, "leaving": 0, "entering": 1},
        {"tier": "", "kept_before": 3, "kept_after": 0, "leaving": 1, "entering": 0},
    ]
    assert ["A1", "0", "2", "0", "1"] in [line.split() for line in compare.lines(content)]
    assert "Quality tiers" in Text(Path(content["page"]).read_text()).text
    assert "tiers" in {change["key"] for change in content["changes"]}
    plain = what_if(corpus, "rules.wide=aspect > 2")
    assert plain["tiers"] == plain["buckets"] == []


@pytest.mark.slow
def test_two_selections_by_hash_and_by_run(corpus):
    one = select(corpus)
    other = select(corpus, "select.rules.big=width > 200")
    content = diff(corpus, one.tables["selection"][:6], other.name)
    assert states(content) == {("kept", "rejected"): 1, ("duplicate", "kept"): 1}
    assert content["changes"] == [{"key": "rules.big", "before": "none", "after": "width > 200"}]
    assert content["after"]["selection"] == other.tables["selection"]
    back = diff(corpus, other.tables["selection"], one.tables["selection"])
    assert states(back) == {("rejected", "kept"): 1, ("kept", "duplicate"): 1}
    same = diff(corpus, one.name, one.name)
    assert (same["changed"], same["rules"]) == (0, [])


@pytest.mark.slow
def test_a_selection_that_is_not_known(corpus):
    def message(text):
        with pytest.raises(RequestError) as caught:
            diff(corpus, text, text)
        return str(caught.value)

    assert "Selections: none. Runs with a selection: none" in message("abc")
    one = select(corpus)
    said = message("xyz")
    assert "'xyz' matches no run and no beginning of a selection's config hash" in said
    assert f"Selections: {one.tables['selection']}" in said
    assert f"Runs with a selection: {one.name}" in said
    assert "'' matches no run and no beginning" in message("")
    looked = curated.run(corpus.uri, "inspect")
    assert f"the run {looked.name} has no selection that still exists" in message(looked.name)
    # A selection that is not complete is none.
    Table(corpus.store, "selection", "f" * 16).append(0, decided(0, "kept"), {})
    assert "'ffff' matches no run and no beginning" in message("ffff")


@pytest.mark.slow
def test_a_beginning_that_several_selections_have(corpus):
    for name in ("ab01", "ab02"):
        corpus.store.create(f"tables/selection/{name}/_published.json", b'{"records": 1}')
    with pytest.raises(RequestError, match="several selections begin with 'ab': ab01, ab02"):
        compare.find_selection(corpus, "ab", {})
    assert compare.find_selection(corpus, "ab02", {}) == "ab02"


def test_the_page_shows_who_leaves_and_enters_and_interprets_nothing(corpus):
    select(corpus)
    content = what_if(corpus, "rules.jpeg=format = 'jpeg'", "rules.big=width > 200")
    page = Path(content["page"]).read_text()
    assert "<script>" not in page
    text = Text(page).text
    assert EVIL_NAME in text
    for words in ("Leaving", "2 records", "format jpeg", "Entering", "rules.big", "width > 200"):
        assert words in text
    images = [dict(a)["alt"] for tag, a in Text(page).tags if tag == "img"]
    assert sorted(images) == sorted([EVIL_NAME, "largest.png", "middle.png"])
    assert "http" not in "".join(a.get("src") or "" for _, a in Text(page).tags)


@pytest.mark.slow
def test_the_page_of_no_difference(corpus):
    made = select(corpus)
    content = diff(corpus, made.name, made.name)
    text = Text(Path(content["page"]).read_text()).text
    assert "No record is leaving" in text
    assert "Every rule says of every record what it said before" in text


@pytest.mark.slow
def test_the_commands(corpus):
    one = select(corpus)

    def nucleus(*arguments, code=0):
        result = CliRunner().invoke(cli, [*arguments, f"corpus={corpus.uri}"])
        assert result.exit_code == code, result.output
        return result

    other = select(corpus, "select.rules.big=width > 200")
    hashes = [run.tables["selection"] for run in (one, other)]
    said = nucleus("diff", *hashes).output
    assert "2 of 7 records change: 1 leave, 1 enter, kept 3 -> 3" in said
    assert "  kept -> rejected         1\n" in said
    assert "  rejected: big        1\n" in said
    assert said.splitlines()[-1].endswith("diff.html")
    result = nucleus("diff", "--json", *hashes)
    assert json.loads(result.stdout)["changed"] == 2
    assert "Selections: " in nucleus("diff", "nothing", hashes[0], code=2).output


@pytest.mark.slow
def test_the_same_question_has_the_same_answer(corpus):
    select(corpus)
    first, second = (what_if(corpus, "rules.big=width > 200") for _ in range(2))
    differ = {"run", "page", "seconds"}
    assert {k: v for k, v in first.items() if k not in differ} == {
        k: v for k, v in second.items() if k not in differ
    }


def test_short_keys_stand_for_those_of_select():
    given = ["rules.a=x = 'b.c'", "prefer=[width]", "drop_duplicates=false", "corpus=rules.x"]
    asked = compare.spelled_out(given)
    assert asked == [
        "select.rules.a=x = 'b.c'",
        "select.prefer=[width]",
        "select.drop_duplicates=false",
        "corpus=rules.x",
    ]
    assert compare.without_select([*asked, "select.rules={}"]) == ["corpus=rules.x"]


def test_what_is_not_tried_is_said():
    result = CliRunner().invoke(cli, ["what-if", "corpus=nowhere", "dedup.distance=3"])
    assert result.exit_code == 2
    assert "what-if: dedup.distance=3: used on both sides" in result.output
    result = CliRunner().invoke(cli, ["what-if", "corpus=nowhere", "prefer=[bytes]"])
    assert "on both sides" not in result.output


@pytest.mark.slow
def test_the_page_shows_what_is_flagged_newly_and_no_longer(corpus):
    select(corpus)
    content = what_if(corpus, "rules.wide={where: aspect > 2, action: flag}")
    assert content["flags"] == [{"rule": "wide", "newly": 1, "no_longer": 0}]
    assert content["leaving"]["records"] == content["entering"]["records"] == 0
    page = Text(Path(content["page"]).read_text())
    assert "newly flagged: 1" in page.text
    assert [dict(a)["alt"] for tag, a in page.tags if tag == "img"] == ["wide.png"]

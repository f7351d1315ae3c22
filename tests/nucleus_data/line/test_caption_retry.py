"""Captions that to generate again: `nucleus retry caption --check --variant --where`."""

import pyarrow as pa
import pytest

from nucleus_data.corpus.caption_sets import find_set
from nucleus_data.corpus.tables import Table, table_schema
from nucleus_data.engines.calibration import Calibration
from nucleus_data.errors import CorpusError, RequestError
from nucleus_data.line.caption_retry import Request
from nucleus_data.sets.layout import SetFolder
from nucleus_data.stages.caption.checks.on_tables import on_tables
from nucleus_data.views.captions_list import caption_sets, lines
from nucleus_data.views.status import status
from tests.support import curated
from tests.support.embedded import model_folder
from tests.support.quick import quick
from tests.support.routed import captioning, curated_copy
from tests.support.stepped import BARE

TWO = "caption.variants={short: {prompt: short}, long: {prompt: long}}"
LOOP = "a red ring " * 40
BAD = {"0/0/short": {"text": LOOP}, "1/1/long": {"text": LOOP}, "2/0/short": {"text": LOOP}}
REFUSED = {"error": "no room"}


@pytest.fixture
def corpus(tmp_path_factory, tmp_path):
    return curated_copy(tmp_path_factory, tmp_path)


def captions(run, variant):
    """Place -> caption and attempt of a variant's table now."""
    rows = curated.table(run.corpus, f"caption.{variant}", run.tables[f"caption.{variant}"])
    return {f"{r['shard']}/{r['row']}": (r["caption"], r["attempt"]) for r in rows}


def failed(run, variant):
    """Places that failed for now, with their reasons."""
    table = Table(run.corpus.store, f"caption.{variant}", run.tables[f"caption.{variant}"])
    rows = [row for shard in table.failed.shards() for row in table.failed.read(shard).to_pylist()]
    return {f"{r['shard']}/{r['row']}": r["reason"] for r in rows}


def files(corpus):
    """All files of tables, with their bytes."""
    store = corpus.store
    found = [
        f"tables/{table}/{hashed}/{name}"
        for table in store.list("tables")
        for hashed in store.list(f"tables/{table}")
        for name in store.list(f"tables/{table}/{hashed}")
        if name.endswith(".parquet")
    ]
    return {name: store.read(name) for name in found}


@pytest.mark.slow
def test_what_a_check_refused_is_asked_again_with_further_attempts_and_nothing_else(
    corpus, monkeypatch
):
    first, _, asked = captioning(corpus, monkeypatch, TWO, answers=BAD)
    first.do("caption")
    assert [key for key in asked() if key.startswith("0/0/short/")] == [
        f"0/0/short/{n}" for n in range(3)
    ]
    assert set(failed(first, "short").values()) == {"repetition"}
    before, stored = captions(first, "short"), files(corpus)

    request = Request(checks=["repetition"], variants=["short"])
    tried, said, asked = captioning(corpus, monkeypatch, TWO, command="retry", dry_run=True)
    tried.retry("caption", request)
    assert (said, asked()) == (["caption.short: 2 to generate again"], [])
    assert files(corpus) == stored
    again, said, asked = captioning(corpus, monkeypatch, TWO, command="retry")
    again.use_selection()
    again.retry("caption", request)
    assert asked() == ["0/0/short/3", "2/0/short/3"], "not long's, and no attempt twice"
    assert "caption.short: 2 to generate again" in said
    now = captions(again, "short")
    assert now == before | {p: (now[p][0], 3) for p in ("0/0", "2/0")}
    assert failed(again, "short") == {}
    assert failed(again, "long") == {"1/1": "repetition"}
    assert {name: files(corpus)[name] for name in stored} == stored, "parts never change"
    assert again.tables["caption.short"] != first.tables["caption.short"]
    assert again.tables["caption.long"] == first.tables["caption.long"]

    # The newer table is that of the recipe from now on, for whoever reads captions.
    later, said, asked = captioning(corpus, monkeypatch, TWO)
    assert later.tables["caption.short"] == again.tables["caption.short"]
    later.do("caption")
    assert asked() == []
    idle, said, asked = captioning(corpus, monkeypatch, TWO, command="retry")
    idle.retry("caption", request)
    assert asked() == []
    assert said == ["caption: nothing to retry"]


def drafts(corpus):
    """Files of lists that runs found and did not put where they belong."""
    return [name for name in corpus.store.find("runs") if "again." in name]


@pytest.mark.slow
def test_what_is_found_lies_below_the_run_only_while_it_is_needed(corpus, monkeypatch):
    options = (TWO, "caption.attempts=1", "caption.rounds=1")
    bad = {"0/0/short": {"text": LOOP}, "2/0/short": {"text": LOOP}}
    first, _, _ = captioning(corpus, monkeypatch, *options, answers=bad)
    first.do("caption")
    again, said, asked = captioning(corpus, monkeypatch, *options, answers=bad, command="retry")
    listed, loop = [], again.run.loop

    def look(stage, work, items, total, **options):
        listed.append((options.get("phase"), [path.rsplit("/")[-1] for path in drafts(corpus)]))
        return loop(stage, work, items, total, **options)

    monkeypatch.setattr(again.run, "loop", look)
    again.retry("caption", Request(variants=["short"]))
    assert asked() == ["0/0/short/1", "2/0/short/1"]
    found = ["000000-0.parquet", "000002-0.parquet"]
    assert listed == [("finds", []), ("copies", found), (None, [])]
    over, said, asked = captioning(corpus, monkeypatch, *options, answers=bad, command="retry")
    over.retry("caption", Request(variants=["short"]))
    assert (asked(), drafts(corpus)) == ([], [])
    assert "caption.rounds=1 is the limit" in said[1]


@pytest.mark.slow
def test_a_shard_that_can_not_be_read_stops_before_anything_is_asked(corpus, monkeypatch):
    first, _, _ = captioning(corpus, monkeypatch, TWO, answers=BAD)
    first.do("caption")
    stored = files(corpus)
    (part,) = [
        name for name in stored if "caption.short" in name and name.endswith("/000001-0.parquet")
    ]
    corpus.store.put(part, stored[part][:40])
    for options in ({}, {"dry_run": True}):
        again, _, asked = captioning(corpus, monkeypatch, TWO, command="retry", **options)
        with pytest.raises(CorpusError, match=r"caption\.short: 1 shards could not .*000001-0"):
            again.retry("caption", Request(checks=["repetition"]))
    assert (asked(), drafts(corpus)) == ([], [])
    assert files(corpus).keys() == stored.keys()


@pytest.mark.slow
def test_a_retry_without_options_asks_again_for_what_checks_refused_and_for_the_rest(
    corpus, monkeypatch
):
    answers = BAD | {"0/1/long": REFUSED}
    first, _, _ = captioning(corpus, monkeypatch, TWO, answers=answers)
    first.do("caption")
    again, _, asked = captioning(corpus, monkeypatch, TWO, command="retry")
    again.retry("caption")
    assert asked() == ["0/0/short/3", "0/1/long/0", "1/1/long/3", "2/0/short/3"]
    assert failed(again, "short") == failed(again, "long") == {}


@pytest.mark.slow
def test_rounds_go_on_and_end(corpus, monkeypatch):
    rounds = ("caption.rounds=2", "caption.attempts=2", TWO)
    bad = {"0/0/short": {"text": LOOP}}
    first, _, asked = captioning(corpus, monkeypatch, *rounds, answers=bad)
    first.do("caption")
    for numbers in ((2, 3), (4, 5)):
        again, _, asked = captioning(corpus, monkeypatch, *rounds, answers=bad, command="retry")
        again.retry("caption")
        assert asked() == [f"0/0/short/{n}" for n in numbers]
        assert failed(again, "short") == {"0/0": "repetition"}
    last, said, asked = captioning(corpus, monkeypatch, *rounds, answers=bad, command="retry")
    last.retry("caption")
    assert asked() == []
    assert "caption.rounds=2 is the limit" in said[1]
    assert len(captions(last, "short")) == 5


@pytest.mark.slow
def test_captions_that_are_there_and_bad_are_asked_for_again(corpus, monkeypatch):
    first, _, _ = captioning(corpus, monkeypatch, TWO, answers={"1/0/short": {"text": "a ring"}})
    first.do("caption")
    before = captions(first, "short")
    assert before["1/0"] == ("a ring", 0)
    again, _, asked = captioning(
        corpus, monkeypatch, TWO, "shard.captions=[short]", command="retry"
    )
    request = Request(where="length(caption) < 10 AND width > 3", variants=["short"])
    again.retry("caption", request)
    assert asked() == ["1/0/short/1"]
    now = captions(again, "short")
    assert now.pop("1/0")[1] == 1
    before.pop("1/0")
    assert now == before
    # The earlier table is there as it was, for who names it.
    old = curated.table(corpus, "caption.short", first.tables["caption.short"])
    assert [row["caption"] for row in old if (row["shard"], row["row"]) == (1, 0)] == ["a ring"]
    again.do("shard")
    folder = SetFolder(corpus.store, again.training_set)
    said = [folder.edition().captions(tar.path).to_pylist() for tar in folder.manifest()]
    assert sum(map(len, said)) == 6
    assert "a ring" not in str(said)


def test_captions_that_a_check_only_flagged_are_generated_again_if_it_is_named(corpus, monkeypatch):
    flagged = {"1/0/short": {"text": "The image shows a red ring on the lawn beside a blue box."}}
    first, _, _ = captioning(corpus, monkeypatch, TWO, answers=flagged)
    first.do("caption")
    rows = curated.table(corpus, "caption.short", first.tables["caption.short"])
    assert [row["flags"] for row in rows if row["flags"]] == [["boilerplate"]]
    again, said, asked = captioning(corpus, monkeypatch, TWO, command="retry")
    again.retry("caption", Request())
    assert (asked(), said) == ([], ["caption: nothing to retry"]), "nothing was rejected"
    again, _, asked = captioning(corpus, monkeypatch, TWO, command="retry")
    again.retry("caption", Request(checks=["boilerplate"]))
    assert asked() == ["1/0/short/1"]
    assert not any(text.startswith("The image") for text, _ in captions(again, "short").values())


def test_the_report_s_conditions_can_be_retried(corpus, monkeypatch, tmp_path):
    folder = tmp_path / "clip"
    content = Calibration("clip", model_folder(folder), (-1.0, 1.0), (0.0, 1.0)).content()
    overrides = (
        *(TWO, f"embed.model={folder}", "score_captions.variants=[short,long]"),
        *("score.heads=null", f"score.calibration={{main: {content}}}"),
    )
    first, _, _ = captioning(corpus, monkeypatch, *overrides)
    first.do("caption")
    found = on_tables(["short", "long"])
    assert [one.name for one in found] == ["far_from_picture"] * 2 + ["variants_disagree"]
    for one in found:
        again, said, _ = captioning(corpus, monkeypatch, *overrides, command="retry")
        again.retry("caption", Request(where=one.where, variants=["short"]))
        assert said[0] == (
            f"caption.short: 0 to generate again, 6 wait for {one.tables[0]}, which --where reads; "
            "run first: nucleus score-captions"
        )


def test_what_a_condition_reads_may_be_missing(corpus, monkeypatch):
    first, _, _ = captioning(corpus, monkeypatch, TWO)
    first.do("caption")
    scored = (TWO, "score_captions.variants=[short]")
    again, said, asked = captioning(corpus, monkeypatch, *scored, command="retry")
    again.retry("caption", Request(where="short_cosine < 0.3", variants=["short"]))
    assert asked() == []
    assert said == [
        "caption.short: 0 to generate again, 6 wait for embed.match.short, which --where reads; "
        "run first: nucleus score-captions",
        "caption: nothing to retry",
    ]


CHAIN = "caption.variants={short: {prompt: short_from, from: long}, long: {prompt: long}}"


@pytest.mark.slow
def test_what_is_made_from_a_caption_that_is_made_again_is_too(corpus, monkeypatch):
    bad = {"1/0/long": {"text": "a ring"}}
    first, _, _ = captioning(corpus, monkeypatch, CHAIN, answers=bad)
    first.do("caption")
    short = captions(first, "short")
    again, _, asked = captioning(corpus, monkeypatch, CHAIN, command="retry")
    again.retry("caption", Request(where="caption = 'a ring'", variants=["long"]))
    assert asked() == ["1/0/long/1", "1/0/short/0"], "and of no other picture"
    assert captions(again, "short") == short
    table = "caption.short"
    was, now = (curated.table(corpus, table, run.tables[table]) for run in (first, again))
    for old, new in zip(was, now, strict=True):
        mended = (old["shard"], old["row"]) == (1, 0)
        assert (old["question"] != new["question"]) == mended


@pytest.mark.slow
def test_what_was_killed_goes_on_where_it_was(corpus, monkeypatch):
    """After the newer table is there, and before anybody was asked: `nucleus caption` asks."""
    first, _, _ = captioning(corpus, monkeypatch, TWO, answers=BAD)
    first.do("caption")
    again, _, asked = captioning(corpus, monkeypatch, TWO, command="retry")
    again.use_selection()
    loop = again.run.loop
    monkeypatch.setattr(
        again.run, "loop", lambda *a, keep=True, **k: None if keep else loop(*a, keep=keep, **k)
    )
    again.retry("caption", Request(variants=["short"]))
    assert asked() == []
    later, _, asked = captioning(corpus, monkeypatch, TWO)
    later.do("caption")
    assert asked() == ["0/0/short/3", "2/0/short/3"]


@pytest.mark.slow
def test_failures_that_may_pass_say_their_attempts_which_a_retry_goes_on_from(corpus, monkeypatch):
    answers = BAD | {"0/1/long": REFUSED}
    first, _, _ = captioning(corpus, monkeypatch, TWO, "caption.attempts=2", answers=answers)
    first.do("caption")
    told = {}
    for variant in ("short", "long"):
        table = Table(corpus.store, f"caption.{variant}", first.tables[f"caption.{variant}"])
        for shard in table.failed.shards():
            for one in table.failed.read(shard).to_pylist():
                told[f"{shard}/{one['row']}/{variant}"] = (one["reason"], one["attempts"])
    expected = dict.fromkeys(BAD, ("repetition", 2)) | {"0/1/long": ("caption_refused", 1)}
    assert told == expected
    later, _, asked = captioning(corpus, monkeypatch, TWO, "caption.attempts=4", command="retry")
    later.retry("caption", Request(checks=["repetition"]))
    assert asked() == ["0/0/short/2", "1/1/long/2", "2/0/short/2"], "none is left out or repeated"


def half_copies(run):
    """What status and captions list say of tables that are half copied."""
    look = curated.run(run.corpus.uri, "status", BARE, TWO, dry_run=True)
    found = [one for one in status(look.run, look.stages)["other_tables"] if "half" in one["note"]]
    return [(one["table"], one["note"]) for one in found]


@pytest.mark.slow
def test_a_table_that_is_half_copied_is_named_and_read_by_nobody(corpus, monkeypatch):
    first, _, _ = captioning(corpus, monkeypatch, TWO, answers=BAD)
    first.do("caption")
    assert half_copies(first) == []
    monkeypatch.setattr(
        "nucleus_data.line.caption_retry.publish", lambda *a: 1 / 0
    )  # killed before
    again, _, _ = captioning(corpus, monkeypatch, TWO, command="retry")
    with pytest.raises(ZeroDivisionError):
        again.retry("caption", Request(where="tokens < 99", variants=["long"]))
    command = "nucleus retry caption --where 'tokens < 99' --variant long ..."
    found = dict(half_copies(first))
    assert found.keys() == {"caption.long", "again.caption.long"}
    assert f"run the same `{command}` again, or remove the folder" in found["caption.long"]
    look = curated.run(corpus.uri, "list", BARE, TWO, dry_run=True)
    content = caption_sets(look.run)
    (half,) = [one for one in content["sets"] if not one["ended"]]
    assert (half["variant"], half["recipe"]) == ("long", False)
    assert command in "\n".join(lines(content))
    with pytest.raises(RequestError, match="is half copied, as captions were being generated"):
        find_set(corpus.store, half["name"], {}, "shard.captions")
    monkeypatch.undo()
    later, _, _ = captioning(corpus, monkeypatch, TWO, command="retry")
    later.retry("caption", Request(where="tokens < 99", variants=["long"]))
    assert half_copies(later) == []


@pytest.mark.slow
def test_rows_that_can_not_be_copied_stop_before_anything_is_asked(corpus, monkeypatch):
    first, _, _ = captioning(corpus, monkeypatch, TWO, answers=BAD)
    first.do("caption")
    monkeypatch.setattr("nucleus_data.runner.carry._copy", lambda *a: 1 / 0)
    again, _, _ = captioning(corpus, monkeypatch, TWO, command="retry")
    with pytest.raises(CorpusError, match="could not be copied, so nothing was generated again"):
        again.retry("caption")
    monkeypatch.undo()
    later, _, asked = captioning(corpus, monkeypatch, TWO, command="retry")
    assert later.tables["caption.short"] == first.tables["caption.short"]
    later.retry("caption")  # begins again, and ends
    assert half_copies(later) == []
    assert asked() == ["0/0/short/3", "1/1/long/3", "2/0/short/3"]
    assert len(captions(later, "short")) == len(captions(later, "long")) == 6


@pytest.mark.parametrize(
    ("request_", "said"),
    quick(
        [
            (Request(checks=["repetiton"]), "no such check. Did you mean|no such check"),
            (Request(variants=["shorter"]), "no such variant"),
            (Request(where="tokens < 3"), "requires --variant; available: short, long"),
            (Request(where="nothing < 3", variants=["short"]), "--where: 'nothing < 3' reads"),
            (Request(where="tokens", variants=["short"]), "--where: 'tokens' has type integer"),
        ],
        2,
        2,
    ),
)
def test_a_wrong_request_is_refused(corpus, monkeypatch, request_, said):
    first, _, _ = captioning(corpus, monkeypatch, TWO)
    first.do("caption")
    again, _, asked = captioning(corpus, monkeypatch, TWO, command="retry")
    with pytest.raises(RequestError, match=said):
        again.retry("caption", request_)
    assert asked() == []


@pytest.mark.slow
def test_vectors_of_captions_that_stay_are_copied(corpus, monkeypatch):
    scored = (TWO, "score_captions.variants=[short]")
    first, _, _ = captioning(
        corpus, monkeypatch, *scored, answers={"1/0/short": {"text": "a ring"}}
    )
    first.do("caption")
    name = "embed.caption.short"
    schema = table_schema(first.pins.specs[name].schema)
    for shard in range(3):
        keys = corpus.records.read(shard, ["shard", "row", "id"]).to_pylist()
        rows = [{**key, "short_embedding": [key["row"] + 1.0]} for key in keys]
        table = Table(corpus.store, name, first.tables[name])
        table.append(shard, pa.Table.from_pylist(rows, schema), {})
    again, _, _ = captioning(corpus, monkeypatch, *scored, command="retry")
    again.retry("caption", Request(where="caption = 'a ring'", variants=["short"]))
    assert again.tables[name] != first.tables[name]
    stored = curated.table(corpus, name, again.tables[name])
    places = {(row["shard"], row["row"]): row["short_embedding"] for row in stored}
    assert places == {(s, r): [r + 1.0] for s in range(3) for r in range(2) if (s, r) != (1, 0)}

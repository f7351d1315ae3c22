import json
import shutil
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.published import publish, published
from nucleus_data.corpus.tables import Table, table_schema
from nucleus_data.errors import CorpusError, RequestError
from nucleus_data.hashing import record_id
from nucleus_data.pages import queries
from nucleus_data.stages.dedup.rows import PAIRS
from nucleus_data.stages.select import walking
from nucleus_data.stages.select.decide import DECISION_SCHEMA
from nucleus_data.stages.select.ledger import LedgerTask, mark_duplicates
from nucleus_data.stages.select.plan import Decisions, SelectionPlan, put
from nucleus_data.stages.select.rules import Column, Rule
from nucleus_data.stages.select.stage import published_selection
from nucleus_data.stages.select.walking import JudgeTask, walk_duplicates, write_members
from nucleus_data.views.status import status, status_lines
from tests.conftest import small_corpus, write_shard
from tests.support import curated
from tests.support.curated import picture

RULES = "select.rules={small: 'least(width, height) < 32', bad: \"source.caption = 'bad'\"}"
SELECTION = table_schema(DECISION_SCHEMA, error=False)


@pytest.fixture
def corpus(tmp_path):
    """Two shards: four copies of one picture (one bad, one tiny), others, and a broken file."""
    made = small_corpus(tmp_path / "c", shards=0)
    first = {
        "copy.jpg": picture(1, (120, 80), "JPEG", quality=90),
        "largest.png": picture(1, (240, 160)),
        "tiny.png": picture(1, (36, 24)),
        "other.png": picture(2),
        "broken.png": picture(3)[:90],
    }
    second = {"exact.jpg": first["copy.jpg"], "third.jpg": picture(4, form="JPEG")}
    write_shard(made, 0, first, {"largest.png": "bad", "other.png": "good"})
    write_shard(made, 1, second)
    curated.inspect(made)
    return made


def test_the_copies_are_pairs(corpus):
    made = curated.run(corpus.uri, "dedup")
    made.do("dedup")
    pairs = curated.table(corpus, "dedup", made.tables["dedup"])
    assert len({pair[name] for pair in pairs for name in ("id", "other_id")}) == 4
    assert len([pair for pair in pairs if pair["exact"]]) == 1


def select(corpus, *overrides, **options):
    """Runs dedup and select; returns the run and key -> row of the selection."""
    made = curated.run(corpus.uri, "select", RULES, *overrides, **options)
    made.do("dedup")
    made.select()
    keys = {r["id"]: r["key"] for r in corpus.table("records").to_arrow_table().to_pylist()}
    rows = curated.table(corpus, "selection", made.tables["selection"])
    return made, {keys[row["id"]]: row for row in rows}


def test_each_record_has_its_state_and_a_rejected_one_displaces_none(corpus):
    _, rows = select(corpus)
    # All four are copies. The largest is rejected, so the best of the others stays; of two equal
    # ones that with the smaller id.
    equal = sorted(("copy.jpg", "exact.jpg"), key=lambda key: record_id("test", key))
    assert {key: row["state"] for key, row in rows.items()} == {
        equal[0]: "kept",
        equal[1]: "duplicate",
        "largest.png": "rejected",
        "tiny.png": "rejected",
        "other.png": "kept",
        "broken.png": "failed",
        "third.jpg": "kept",
    }
    assert rows[equal[1]]["duplicate_of"] == record_id("test", equal[0])
    assert rows[equal[1]]["reasons"] == ["duplicate"]
    assert rows["largest.png"]["reasons"] == ["bad"]
    assert json.loads(rows["largest.png"]["values"]) == {"source.caption": "bad"}
    assert rows["tiny.png"]["reasons"] == ["small"]
    assert rows["broken.png"]["reasons"] == ["truncated"]
    assert [row["nulls"] for key, row in rows.items() if key == "third.jpg"] == [["bad"]]
    assert rows["other.png"]["nulls"] == []


def test_the_order_of_preference_says_which_duplicate_stays(corpus):
    rules = "select.rules={small: 'width < 3'}"

    def kept(*overrides):
        _, rows = select(corpus, rules, *overrides)
        others = ("other.png", "third.jpg")
        return [k for k, row in rows.items() if row["state"] == "kept" and k not in others]

    assert kept() == ["largest.png"]
    assert kept("select.prefer=[width * height asc]") == ["tiny.png"]
    assert kept("select.prefer=[\"format = 'jpeg' desc\", width desc]")[0] in (
        "copy.jpg",
        "exact.jpg",
    )


def test_the_sums_agree_with_what_was_published_and_kept_with_the_run(corpus):
    made, rows = select(corpus)
    content = published_selection(corpus.store, made.tables["selection"])
    states = {"kept": 3, "rejected": 2, "duplicate": 1, "failed": 1, "pending": 0}
    assert content["states"] == states
    assert content["records"] == sum(states.values()) == len(rows) == 7
    line = made.lines[-1]
    assert (line["stage"], line["rows"]) == ("select", 7)
    assert line["extra"]["kept"] == 3
    assert line["extra"]["reasons:truncated"] == line["extra"]["reasons:bad"] == 1
    assert line["extra"]["nulls:bad"] == 4


def test_selecting_again_changes_no_byte(corpus, tmp_path):
    made, _ = select(corpus)
    before = {p: p.read_bytes() for p in (tmp_path / "c/tables").rglob("*") if p.is_file()}
    again, _ = select(corpus)
    after = {p: p.read_bytes() for p in (tmp_path / "c/tables").rglob("*") if p.is_file()}
    assert after == before
    assert again.tables["selection"] == made.tables["selection"]
    assert (again.lines[-1]["already"], again.lines[-1]["done"]) == (7, 0)


def test_without_the_walk_duplicates_are_kept(corpus):
    made = curated.run(corpus.uri, "select", RULES, "select.drop_duplicates=false")
    states = made.select()  # needs no pairs
    assert states == {"kept": 4, "rejected": 2, "duplicate": 0, "failed": 1, "pending": 0}


def test_what_was_not_measured_is_pending(corpus):
    write_shard(corpus, 2, {"new.png": picture(7), "newer.png": picture(8)})
    made, rows = select(corpus)
    assert published_selection(corpus.store, made.tables["selection"])["states"]["pending"] == 2
    assert rows["new.png"]["pending_on"] == ["inspect.file", "inspect.hash"]


def test_a_picture_that_failed_for_now_is_failed_until_it_is_measured(corpus):
    tables = curated.recipe(corpus.uri).pins().tables
    write_shard(corpus, 2, {"new.png": picture(7)})
    keys = ("shard", "row", "id")
    lost = corpus.records.read(2, keys).append_column("reason", [["killed_sigkill"]])
    Table(corpus.store, "inspect.file", tables["inspect.file"]).failed.append(2, lost, {})
    _, rows = select(corpus)
    new = rows["new.png"]
    assert (new["state"], new["reasons"], new["retryable"]) == ("failed", ["killed_sigkill"], True)
    curated.inspect(corpus)
    curated.inspect(corpus, retry=True)
    _, rows = select(corpus)
    assert rows["new.png"]["state"] == "kept"


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("broken", ["JudgeTask", "LedgerTask"])
def test_a_selection_that_was_broken_off_goes_on_and_is_the_same(
    corpus, tmp_path, monkeypatch, broken
):
    shutil.copytree(tmp_path / "c", tmp_path / "other")
    whole, _ = select(corpus)
    monkeypatch.setattr("nucleus_data.stages.select.plan.SHARDS_A_TASK", 1)
    other = Corpus(str(tmp_path / "other"))
    with monkeypatch.context() as patch:
        kind = {"JudgeTask": JudgeTask, "LedgerTask": LedgerTask}[broken]
        run_one = kind.run

        def run(task, number):
            if number == 1:
                raise OSError("away")
            return run_one(task, number)

        patch.setattr(kind, "run", run)
        made, _ = select(other)
        assert made.failed_shards == 1
        assert not published_selection(other.store, made.tables["selection"])
    judged = []
    with monkeypatch.context() as patch:
        judge_all = SelectionPlan.judge
        patch.setattr(
            SelectionPlan, "judge", lambda plan, shards: judged.append(1) or judge_all(plan, shards)
        )
        made, _ = select(other)
    # Answers that are there are not asked for again: one group of two was judged, or none.
    assert len(judged) == {"JudgeTask": 1, "LedgerTask": 0}[broken]
    done = {"JudgeTask": (7, 0), "LedgerTask": (2, 5)}[broken]
    assert (made.lines[-1]["done"], made.lines[-1]["already"]) == done
    assert (made.lines[-1]["shards"], made.lines[-1]["extra"]) == (2, whole.lines[-1]["extra"])
    # However many shards a task decides about, the tables are the same.
    there, expected = (files(tmp_path / name / "tables") for name in ("other", "c"))
    walk = {path for path in {*there, *expected} if "_walk" in path.parts}
    assert {p: b for p, b in there.items() if p not in walk} == {
        p: b for p, b in expected.items() if p not in walk
    }
    assert len(walk & set(there)) == 5  # `members` and `kept` of both shards, `dropped` of one
    select(other)
    assert files(tmp_path / "other/tables") == there


def test_an_error_says_in_which_shards(corpus):
    made = curated.run(corpus.uri, "select", RULES)
    made.do("dedup")
    hashed = curated.recipe(corpus.uri).pins().tables["inspect.tone"]
    part = f"tables/inspect.tone/{hashed}/000001-0.parquet"
    Path(corpus.store.path(part)).write_bytes(b"no Parquet")
    rules = "select.rules={dark: 'luma_mean < 1'}"
    made = curated.run(corpus.uri, "select", rules)
    assert made.select() == {}
    (failure,) = made.failures
    assert "shards 000000 to 000001: ArrowInvalid" in failure["error"]


def test_what_passes_hand_on_is_the_same_or_an_error(corpus):
    for _ in range(2):
        put(corpus.store, "x.arrow", pa.table({"row": [1]}))
    with pytest.raises(CorpusError, match=r"x\.arrow is there with other content"):
        put(corpus.store, "x.arrow", pa.table({"row": [2]}))


def test_answers_about_other_records_are_an_error(corpus, monkeypatch):
    run_one = walking.JudgeTask.run

    def run(task, number):
        found = run_one(task, number)
        name = task.plan.exchanged("answers", 0)
        answers = walking.get(corpus.store, name)
        corpus.store.remove(name)
        put(corpus.store, name, answers.slice(1))
        return found

    monkeypatch.setattr(walking.JudgeTask, "run", run)
    made, rows = select(corpus)
    assert rows == {}
    (failure,) = made.failures
    assert "the rules' answers are about other records than there are" in failure["error"]


def test_tiers_are_counted_among_the_kept(corpus):
    said = []
    made = curated.run(
        corpus.uri, "select", RULES, "select.tiers={score: width, bounds: [90, 120]}", said=said
    )
    made.do("dedup")
    made.select()
    rows = curated.table(corpus, "selection", made.tables["selection"])
    kept = Counter(row["tier"] for row in rows if row["state"] == "kept")
    assert kept == {"A1": 2, "A2": 1}
    extra = made.lines[-1]["extra"]
    assert {k: n for k, n in extra.items() if k.startswith("tier:")} == {"tier:A1": 2, "tier:A2": 1}
    assert {"  kept in A1: 2", "  kept in A2: 1"} < set(said)
    assert "    kept by quality tier: 2 A1, 1 A2" in list(status_lines(status(made)))
    known = queries.Tables(corpus, made.tables)
    assert queries.tiers(known) == [("A2", 1), ("A1", 2)]
    other = curated.run(
        corpus.uri, "select", RULES, "select.tiers={score: width, bounds: [90, 121]}"
    )
    other.pin("select")
    assert other.tables["selection"] != made.tables["selection"]
    # Bounds without a score are no tiers.
    hashes = set()
    for bounds in ("[1.0]", "[2.0]"):
        none = curated.run(corpus.uri, "select", RULES, f"select.tiers.bounds={bounds}")
        none.select()
        assert queries.tiers(queries.Tables(corpus, none.tables)) == []
        hashes.add(none.tables["selection"])
    assert len(hashes) == 1


def test_a_table_that_only_tiers_read_is_not_waited_for(corpus):
    tiers = "select.tiers={score: luma_mean, bounds: [0]}"
    for folder in Path(corpus.uri, "tables/inspect.tone").iterdir():
        (folder / "000001-0.parquet").unlink()
    made = curated.run(corpus.uri, "select", RULES, tiers)
    made.do("dedup")
    assert made.select()["pending"] == 0
    rows = curated.table(corpus, "selection", made.tables["selection"])
    assert {(row["shard"], row["tier"]) for row in rows if row["state"] == "kept"} == {
        (0, "A1"),
        (1, None),
    }
    before = made.tables["selection"]
    curated.inspect(corpus)  # now there is a score
    again = curated.run(corpus.uri, "select", RULES, tiers)
    again.pin("select")
    assert again.tables["selection"] != before


@pytest.mark.slow
def test_the_selection_is_another_when_its_inputs_are(corpus):
    made, _ = select(corpus)
    first = made.tables["selection"]

    def found(*overrides):
        run = curated.run(corpus.uri, "look", RULES, *overrides, dry_run=True)
        try:
            run.use_selection()
        except RequestError:
            return False
        assert run.tables["selection"] == first
        return True

    assert found()
    assert found("resources.select={workers: 1, num_cpus: 0.5}", "report.thumbnails=3")
    assert found("ray.num_cpus=1", "shard.seed=3", "caption.seed=3")
    assert not found("select.rules.more=width > 9000")
    assert not found("select.rules.small=least(width, height) < 33")
    assert not found("select.prefer=[width desc]")
    assert not found("select.drop_duplicates=false")
    assert not found("dedup.distance=3")
    assert not found("inspect.max_pixels=1000000")
    write_shard(corpus, 2, {"new.png": picture(7)})
    with pytest.raises(RequestError, match="no selection for the tables and rules as they are"):
        curated.run(corpus.uri, "look", RULES, dry_run=True).use_selection()
    second, _ = select(corpus)
    curated.inspect(corpus)
    third, _ = select(corpus)
    assert len({first, second.tables["selection"], third.tables["selection"]}) == 3


def chain(corpus, *links, rules=None):
    """Walks pairs between rows of shard 0, in the order of their rows; row -> (state, for whom)."""
    ids = [record_id("test", f"0/{i}.bin") for i in range(5)]
    states = rules or ["kept"] * 5
    keyed = [{"shard": 0, "row": r, "id": ids[r]} for r in range(5)]
    seen = [{**k, "rank": k["row"], "bad": states[k["row"]] == "rejected"} for k in keyed]
    lost = [k for k in keyed if states[k["row"]] == "failed"]
    seen = [s for s in seen if states[s["row"]] not in ("failed", "pending")]
    own = Table(corpus.store, "own", "o")
    own.append(
        0, pa.Table.from_pylist(seen).append_column("error", pa.nulls(len(seen), pa.string())), {}
    )
    if lost:
        own.failed.append(0, pa.Table.from_pylist(lost).append_column("reason", [["killed"]]), {})
    pairs = [
        {
            **keyed[a],
            "other_shard": 0,
            "other_row": b,
            "other_id": ids[b],
            "distance": 3,
            "distance256": 20,
            "aspect_difference": 0.0,
            "exact": False,
        }
        for a, b in links
    ]
    table = pa.Table.from_pylist(pairs, PAIRS)
    bad = Rule("bad", "bad", "reject", "bad", (Column("own", "bad", '"bad"'),))
    decisions = Decisions([bad], ["own"], [Column("own", "rank", '"rank"')])
    plan = SelectionPlan(corpus.uri, {}, decisions, {"selection": "s", "own": "o"}, [0], ["own"])
    assert write_members(plan, corpus, table) == [0]
    JudgeTask(plan).run(0)
    dropped = walk_duplicates(plan, corpus, table, [0], ["rank"])
    LedgerTask(plan).run(0)
    rows = curated.table(corpus, "selection", "s")
    assert dropped == sum(row["state"] == "duplicate" for row in rows)
    name = {i: r for r, i in enumerate(ids)}
    return [(row["state"], name.get(row["duplicate_of"])) for row in rows]


def test_a_chain_loses_only_neighbours_of_what_is_kept(tmp_path):
    corpus = small_corpus(tmp_path, shards=1)
    assert chain(corpus, (0, 1), (1, 2), (2, 3)) == [
        ("kept", None),
        ("duplicate", 0),
        ("kept", None),
        ("duplicate", 2),
        ("kept", None),
    ]


def test_a_rejected_link_drops_nothing(tmp_path):
    corpus = small_corpus(tmp_path, shards=1)
    states = ["rejected", "kept", "pending", "kept", "failed"]
    assert chain(corpus, (0, 1), (1, 2), (2, 3), (3, 4), rules=states) == [
        (state, None) for state in states
    ]


def test_a_star_s_rays_are_dropped_for_its_centre_alone(tmp_path):
    corpus = small_corpus(tmp_path, shards=1)
    assert chain(corpus, (0, 4), (1, 4), (2, 3)) == [
        ("kept", None),
        ("kept", None),
        ("kept", None),
        ("duplicate", 2),
        ("duplicate", 0),
    ]


def test_the_walk_may_not_touch_what_the_rules_did_not_keep():
    keyed = {"shard": 0, "row": 0, "id": "a"}
    rules = pa.Table.from_pylist([{**keyed, "state": "rejected", "reasons": ["x"]}], SELECTION)
    survivors = pa.Table.from_pylist([{**keyed, "duplicate_of": "b"}])
    with pytest.raises(CorpusError, match="dropped a record that the rules had not kept"):
        mark_duplicates(rules, survivors)


def test_a_selection_is_there_once_it_is_published(tmp_path):
    corpus = small_corpus(tmp_path, shards=1)
    assert published(corpus.store, "x") is None
    publish(corpus.store, "x", {"records": 5})
    assert published(corpus.store, "x") == {"records": 5}
    assert Table(corpus.store, "selection", "x").part_names() == []

from pathlib import Path

import pyarrow as pa
import pytest

from nucleus_data.corpus.exchanged import put
from nucleus_data.corpus.tables import FAILED_SCHEMA, Table, table_schema
from nucleus_data.hashing import record_id
from nucleus_data.runner.inline import InlineLoop
from nucleus_data.stages.dedup.rows import PAIRS
from nucleus_data.stages.select import walking
from nucleus_data.stages.select.duplicates import drop_duplicates
from nucleus_data.stages.select.expression import Names, parse_condition, parse_order
from nucleus_data.stages.select.ledger import LedgerTask
from nucleus_data.stages.select.plan import Decisions, SelectionPlan
from nucleus_data.stages.select.rules import Rule
from nucleus_data.world.corpora import small_corpus
from tests.support import curated
from tests.support.selecting import RULES, select


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
    assert "shards 000000 to 000001: DamagedError: " in failure["error"]
    assert part in failure["error"]


@pytest.mark.slow
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
    assert "the rules' answers do not match the records of the corpus" in failure["error"]


def inline(name, task, items, total):
    return InlineLoop(name, task, None).run(items, total)


def chain(corpus, *links, rules=None):
    """Walks pairs between rows of shard 0, in the order of their rows; row -> (state, for whom)."""
    ids = [record_id("test", f"0/{i}.bin") for i in range(5)]
    states = rules or ["kept"] * 5
    keyed = [{"shard": 0, "row": r, "id": ids[r]} for r in range(5)]
    seen = [{**k, "rank": k["row"], "bad": states[k["row"]] == "rejected"} for k in keyed]
    lost = [k for k in keyed if states[k["row"]] == "failed"]
    seen = [s for s in seen if states[s["row"]] not in ("failed", "pending")]
    own = Table(corpus.store, "own", "o")
    values = pa.schema([("rank", pa.int64()), ("bad", pa.bool_())])
    own.append(0, pa.Table.from_pylist(seen, table_schema(values)), {})
    if lost:
        killed = [{**row, "reason": "killed"} for row in lost]
        own.failed.append(0, pa.Table.from_pylist(killed, FAILED_SCHEMA), {})
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
    names = Names({"bad": "own", "rank": "own"})
    bad = Rule("bad", "reject", "bad", parse_condition("bad", "rule", names))
    decisions = Decisions([bad], ["own"], [parse_order("rank", "prefer", names)])
    hashes = {"selection": "s", "own": "o", "dedup": "d"}
    plan = SelectionPlan(corpus.uri, {}, decisions, hashes, [0], ["own"])
    Table(corpus.store, "dedup", "d").append(0, table, {})
    dropped = drop_duplicates(plan, corpus, 100, inline)
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

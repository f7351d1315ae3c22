import json

import pyarrow as pa
import pytest

from nucleus_data.errors import RequestError
from nucleus_data.stages.select import database
from nucleus_data.stages.select import judge as judging
from nucleus_data.stages.select.decide import count_states, decide
from nucleus_data.stages.select.judge import Shard
from nucleus_data.stages.select.rules import check_rules
from nucleus_data.stages.select.settings import SelectSettings
from tests.support.judged import CATALOG, FAILED, FILE, judge, one, records, table

OWN = pa.schema(
    [
        ("row", pa.int32()),
        ("state", pa.string()),
        ("values", pa.float64()),
        ("error", pa.string()),
    ]
)


def test_values_are_those_of_the_rules_that_fired():
    row = one({"small": "width < 200", "png": "format = 'png'"})
    assert json.loads(row["values"]) == {"width": 100}


def test_a_rule_may_read_nothing():
    row = one({"all": "true"})
    assert (row["state"], row["reasons"], row["values"]) == ("rejected", ["all"], "{}")


def test_a_condition_may_end_in_a_comment():
    assert one({"small": "width < 200 -- too small"})["state"] == "rejected"


def test_hours_are_those_of_utc_wherever_it_runs(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setattr(database, "_database", database._database.__wrapped__)  # a new one
    assert (
        one({"evening": "hour(TIMESTAMPTZ '2020-01-01 23:30:00+02') = 21"})["state"] == "rejected"
    )


def test_what_is_not_a_number_is_null():
    nan = float("nan")
    tables = {
        "inspect.file": table(FILE, (0, 100, "jpeg")),
        "inspect.own": table(OWN, (0, "x", nan)),
    }
    (row,) = judge(records(1), tables, {"more": "values > 0.5", "less": "values < 0.5"})
    assert (row["state"], row["nulls"]) == ("kept", ["more", "less"])


def test_a_rule_that_fails_on_a_record_is_named():
    wide = {"fine": "width > 3000", "huge": "width * width > 3"}
    file = (0, 2**30, "jpeg")
    with pytest.raises(RequestError, match=r"select\.rules\.huge: 'width \* width > 3' fails on a"):
        one(wide, file=file)


def test_an_upstream_column_may_have_any_name():
    catalog = ['we"ird']
    checked = check_rules(SelectSettings(rules={"odd": 'source."we""ird" > 2'}), CATALOG, catalog)
    known = records(2).append_column('source.we"ird', pa.array([1, 3]))
    shard = Shard(known, {"inspect.file": table(FILE, (0, 1, "png"), (1, 1, "png"))}, {})
    answers = judging.judge([shard], checked, ["inspect.file"])
    states = decide(answers, checked, ["inspect.file"]).column("state")
    assert states.to_pylist() == ["kept", "rejected"]


def test_an_upstream_column_that_a_source_does_not_have_is_null():
    row = one({"score": "source.score < 3", "caption": "source.caption = ''"})
    assert (row["state"], row["nulls"]) == ("kept", ["score", "caption"])


def test_signals_may_have_the_names_of_the_result_s_columns():
    own = table(OWN, (0, "kept", 5.0), (1, "lost", 5.0))
    file = table(FILE, (0, 100, "jpeg"), (1, 100, "jpeg"))
    tables = {"inspect.file": file, "inspect.own": own}
    rows = judge(records(2), tables, {"lost": "state = 'lost' AND \"values\" > 3"})
    assert [row["state"] for row in rows] == ["kept", "rejected"]
    assert json.loads(rows[1]["values"]) == {"state": "lost", "values": 5.0}


def test_a_shard_of_which_nothing_is_asked_has_no_decisions():
    assert judge(records(0), {"inspect.file": None}, {"small": "width < 10"}) == []


def test_shards_judged_together_come_out_as_each_alone():
    rules = check_rules(
        SelectSettings(rules={"small": "width < 10", "score": "source.score = '3'"}),
        CATALOG,
        ["caption", "score"],
    )
    file = table(FILE, *((row, row, "png", "truncated" if row == 7 else None) for row in range(30)))
    text, number = pa.array(["3"] * 40), pa.array([3] * 40)
    whole = records(40)
    shards = [
        Shard(whole, {"inspect.file": file}, {}),
        Shard(records(3), {"inspect.file": file}, {}),
        Shard(whole, {"inspect.file": None}, {"inspect.file": table(FAILED, (0, "killed"))}),
        # Upstream columns may have other types in other shards.
        Shard(whole.append_column("source.score", text), {"inspect.file": file}, {}),
        Shard(whole.append_column("source.score", number), {"inspect.file": file}, {}),
        Shard(records(0), {"inspect.file": file}, {}),
    ]

    def states_of(*some):
        return decide(judging.judge(some, rules, ["inspect.file"]), rules, ["inspect.file"])

    together = states_of(*shards)
    alone = [states_of(shard) for shard in shards]
    assert together.to_pylist() == [row for table in alone for row in table.to_pylist()]
    states = [count_states(t) for t in alone]
    assert states == [
        {"rejected": 9, "failed": 1, "kept": 20, "pending": 10},
        {"rejected": 3},
        {"failed": 1, "pending": 39},
        {"rejected": 39, "failed": 1},
        {"rejected": 39, "failed": 1},
        {},
    ]

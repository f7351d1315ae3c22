import json
import random
import threading

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleus_data.errors import RequestError
from nucleus_data.stages.select import judge as judging
from nucleus_data.stages.select.decide import DECISION_SCHEMA, count_states, decide
from nucleus_data.stages.select.judge import Shard
from nucleus_data.stages.select.rules import check_rules
from nucleus_data.stages.select.settings import SelectSettings, TierSettings
from nucleus_data.stages.select.tiers import check_tiers

CATALOG = {
    "width": "inspect.file",
    "format": "inspect.file",
    "luma": "inspect.tone",
    "state": "inspect.own",
    "values": "inspect.own",
}
RECORD = pa.schema(
    [
        ("shard", pa.int32()),
        ("row", pa.int32()),
        ("id", pa.string()),
        ("error", pa.string()),
        ("retryable", pa.bool_()),
        ("source.caption", pa.string()),
    ]
)
FILE = pa.schema(
    [("row", pa.int32()), ("width", pa.int32()), ("format", pa.string()), ("error", pa.string())]
)
TONE = pa.schema([("row", pa.int32()), ("luma", pa.float32()), ("error", pa.string())])
OWN = pa.schema(
    [
        ("row", pa.int32()),
        ("state", pa.string()),
        ("values", pa.float64()),
        ("error", pa.string()),
    ]
)
FAILED = pa.schema([("row", pa.int32()), ("reason", pa.string())])
STATES = {"kept", "rejected", "failed", "pending"}


def records(count, **columns):
    rows = [
        {
            "shard": 0,
            "row": row,
            "id": f"{row:032x}",
            "error": None,
            "retryable": False,
            **{name: values[row] for name, values in columns.items()},
        }
        for row in range(count)
    ]
    return pa.Table.from_pylist(rows, RECORD)


def table(schema, *rows):
    return pa.Table.from_pylist(
        [dict(zip(schema.names, row, strict=False)) for row in rows], schema
    )


def judge(record_table, tables, rules, failed=None, tiers=None):
    checked = check_rules(SelectSettings(rules=rules), CATALOG, ["caption", "score"])
    needed = {t for rule in checked for t in rule.tables if t != "records"}
    required = sorted({"inspect.file", *needed})
    score = check_tiers(TierSettings(**tiers or {}), CATALOG, ["caption", "score"])
    known = [Shard(record_table, tables, failed or {})]
    decided = decide(judging.judge(known, checked, required, score), checked, required)
    assert decided.schema.names == ["shard", "row", "id", *DECISION_SCHEMA.names]
    assert decided.schema.field("reasons").type == DECISION_SCHEMA.field("reasons").type
    assert decided.column("row").to_pylist() == record_table.column("row").to_pylist()
    assert decided.column("id").to_pylist() == record_table.column("id").to_pylist()
    return decided.to_pylist()


def one(rules, file=(0, 100, "jpeg"), **columns):
    tables = {"inspect.file": table(FILE, file) if file else None}
    return judge(records(1, **{k: [v] for k, v in columns.items()}), tables, rules)[0]


def test_a_record_without_a_reason_is_kept():
    row = one({"small": "width < 10"})
    assert row["state"] == "kept"
    empty = ("reasons", "conditions", "flags", "nulls", "pending_on")
    assert [row[name] for name in empty] == [[]] * 5
    assert (row["values"], row["duplicate_of"], row["retryable"]) == (None, None, False)


def test_no_rules_keep_all_that_was_measured():
    assert one({})["state"] == "kept"
    assert one({}, file=None)["state"] == "pending"


def test_a_rejected_record_has_every_rule_s_name_condition_and_values():
    rules = {
        "small": "width < 200",
        "wide": "width > 1000",
        "not_png": "format <> 'png'",
        "it's": "format = 'jpeg' AND source.caption LIKE '%\"cat\"%'",
    }
    row = one(rules, **{"source.caption": 'a "cat"'})
    assert row["state"] == "rejected"
    assert row["reasons"] == ["small", "not_png", "it's"]
    assert row["conditions"] == [rules["small"], rules["not_png"], rules["it's"]]
    values = json.loads(row["values"])
    assert values == {"width": 100, "format": "jpeg", "source.caption": 'a "cat"'}


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
    monkeypatch.setattr("nucleus_data.stages.select.judge._threads", threading.local())
    assert (
        one({"evening": "hour(TIMESTAMPTZ '2020-01-01 23:30:00+02') = 21"})["state"] == "rejected"
    )


def test_null_does_not_reject_and_is_counted():
    rules = {"small": "width < 200", "big": "width > 200", "format": "format = 'png'"}
    row = one(rules, file=(0, None, "jpeg"))
    assert (row["state"], row["reasons"]) == ("kept", [])
    assert row["nulls"] == ["small", "big"]
    row = one(rules, file=(0, None, "png"))
    assert (row["state"], row["reasons"]) == ("rejected", ["format"])
    assert row["nulls"] == ["small", "big"]


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


def test_a_flag_does_not_reject():
    flag = {"where": "width < 200", "action": "flag"}
    row = one({"small": flag, "other": {"where": "width > 200", "action": "flag"}})
    assert (row["state"], row["flags"], row["reasons"]) == ("kept", ["small"], [])
    row = one({"small": flag, "jpeg": "format = 'jpeg'"})
    assert (row["state"], row["flags"], row["reasons"]) == ("rejected", ["small"], ["jpeg"])
    assert json.loads(row["values"]) == {"format": "jpeg"}


@pytest.mark.parametrize(
    "condition",
    [
        "width < 200",
        "width IS NULL",
        "coalesce(width, 0) < 200",
        "format NOT IN ('jpeg')",
        "format ILIKE 'p%'",
        "length(format) < 3",
    ],
)
@pytest.mark.parametrize("part", ["no part", "a part without the row"])
def test_a_record_is_pending_while_a_table_lacks_its_row(condition, part):
    tables = {"inspect.file": None if part == "no part" else table(FILE, (1, 5, "png"))}
    (row,) = judge(records(1), tables, {"r": condition})
    assert (row["state"], row["pending_on"]) == ("pending", ["inspect.file"])
    assert (row["reasons"], row["nulls"], row["flags"]) == ([], [], [])


def test_pending_waits_for_the_tables_of_all_rules():
    tables = {"inspect.file": table(FILE, (0, 100, "jpeg"))}
    rules = {"small": "width < 10", "dark": {"where": "luma < 3", "action": "flag"}}
    (row,) = judge(records(1), tables, rules)
    assert (row["state"], row["pending_on"]) == ("pending", ["inspect.tone"])


def test_failed_goes_before_rejected_before_pending():
    rules = {"small": "width < 200", "dark": "luma < 3"}
    file = table(FILE, (0, 100, "jpeg", None), (1, 100, "jpeg", None), (2, None, None, "truncated"))
    tone = table(TONE, (0, 1.0))
    rows = judge(records(4), {"inspect.file": file, "inspect.tone": tone}, rules)
    assert [row["state"] for row in rows] == ["rejected", "rejected", "failed", "pending"]
    assert rows[0]["reasons"] == ["small", "dark"]
    assert rows[1]["reasons"] == ["small"]
    assert rows[1]["pending_on"] == []
    assert rows[2]["reasons"] == ["truncated"]
    assert (rows[2]["conditions"], rows[2]["values"], rows[2]["nulls"]) == ([], None, [])
    assert rows[3]["pending_on"] == ["inspect.file", "inspect.tone"]


def test_whether_a_failure_may_pass():
    fetched = records(
        4,
        error=["http_404", "timeout", None, None],
        retryable=[False, True, False, False],
    )
    file = table(FILE, (3, None, None, "truncated"))
    failed = {"inspect.file": table(FAILED, (2, "killed_sigkill"))}
    rows = judge(fetched, {"inspect.file": file}, {"small": "width < 10"}, failed)
    assert [(row["state"], row["reasons"], row["retryable"]) for row in rows] == [
        ("failed", ["http_404"], False),
        ("failed", ["timeout"], True),
        ("failed", ["killed_sigkill"], True),
        ("failed", ["truncated"], False),
    ]


def test_a_failure_in_a_table_that_no_rule_reads_is_no_failure():
    tone = table(TONE, (0, None, "inspect_error"))
    tables = {"inspect.file": table(FILE, (0, 100, "jpeg")), "inspect.tone": tone}
    assert judge(records(1), tables, {"small": "width < 10"})[0]["state"] == "kept"


def test_signals_may_have_the_names_of_the_result_s_columns():
    own = table(OWN, (0, "kept", 5.0), (1, "lost", 5.0))
    file = table(FILE, (0, 100, "jpeg"), (1, 100, "jpeg"))
    tables = {"inspect.file": file, "inspect.own": own}
    rows = judge(records(2), tables, {"lost": "state = 'lost' AND \"values\" > 3"})
    assert [row["state"] for row in rows] == ["kept", "rejected"]
    assert json.loads(rows[1]["values"]) == {"state": "lost", "values": 5.0}


def test_a_shard_of_which_nothing_is_asked_has_no_decisions():
    assert judge(records(0), {"inspect.file": None}, {"small": "width < 10"}) == []


BOUNDS = {"score": "luma", "bounds": [5.0, 5.5, 6.8]}


def tier_of(*lumas, **tiers):
    tone = table(TONE, *((r, luma) for r, luma in enumerate(lumas) if luma != "absent"))
    count = len(lumas)
    file = table(FILE, *((r, 100, "jpeg") for r in range(count)))
    tables = {"inspect.file": file, "inspect.tone": tone}
    return judge(records(count), tables, {}, tiers={**BOUNDS, **tiers})


def test_a_tier_begins_at_its_bound():
    rows = tier_of(4.99, 5.0, 5.49, 5.5, 6.79, 6.8, 100.0)
    assert [row["tier"] for row in rows] == [None, "A1", "A1", "A2", "A2", "A3", "A3"]
    assert {row["state"] for row in rows} == {"kept"}


def test_without_a_score_there_is_no_tier_and_no_waiting():
    rows = tier_of(None, "absent", float("nan"), 6.0)
    assert [row["tier"] for row in rows] == [None, None, None, "A2"]
    assert {row["state"] for row in rows} == {"kept"}
    # Not even where the expression would make a number of nothing.
    rows = tier_of(None, "absent", score="coalesce(luma, 6)")
    assert [row["tier"] for row in rows] == ["A2", None]
    file = {"inspect.file": table(FILE, (0, 100, "jpeg"))}
    assert judge(records(1), file, {}, tiers=BOUNDS)[0]["tier"] is None
    assert judge(records(1), file, {})[0]["tier"] is None


def test_a_score_is_an_expression_on_one_record():
    found = records(2, **{"source.caption": ["5", "x"]})
    file = {"inspect.file": table(FILE, (0, 100, "jpeg"), (1, 2, "png"))}
    tiers = {"score": "TRY_CAST(source.caption AS DOUBLE) + width / 100"}
    assert [row["tier"] for row in judge(found, file, {}, tiers=tiers)] == ["A3", None]


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


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32))
def test_every_record_has_exactly_one_state_and_the_one_that_it_should(seed):
    draw = random.Random(seed)
    count = draw.randint(1, 150)
    errors = [draw.choice([None, None, None, "http_404"]) for _ in range(count)]
    measured = [draw.random() < 0.8 for _ in range(count)]
    widths = [draw.choice([None, 1, 100]) for _ in range(count)]
    broken = [draw.choice([None, None, None, "truncated"]) for _ in range(count)]
    killed = [draw.random() < 0.2 for _ in range(count)]
    lumas = [draw.choice(["absent", None, 1.0, 100.0]) for _ in range(count)]
    file = table(FILE, *((r, widths[r], "png", broken[r]) for r in range(count) if measured[r]))
    tone = table(TONE, *((r, lumas[r]) for r in range(count) if lumas[r] != "absent"))
    failed = {"inspect.file": table(FAILED, *((r, "killed") for r in range(count) if killed[r]))}
    rules = {"small": "width < 10", "dark": "luma < 10"}
    tables = {"inspect.file": file, "inspect.tone": tone}
    rows = judge(records(count, error=errors), tables, rules, failed)
    for r, row in enumerate(rows):
        small = measured[r] and widths[r] == 1
        dark = lumas[r] == 1.0
        if errors[r] or (measured[r] and broken[r]) or killed[r]:
            expected = "failed"
        elif small or dark:
            expected = "rejected"
        elif not measured[r] or lumas[r] == "absent":
            expected = "pending"
        else:
            expected = "kept"
        assert row["state"] == expected
        assert bool(row["reasons"]) == (expected in ("failed", "rejected"))
        assert bool(row["pending_on"]) == (expected == "pending")
        assert (row["values"] is not None) == (expected == "rejected")
    schema = pa.schema([("state", pa.string())])
    states = count_states(pa.Table.from_pylist([{"state": row["state"]} for row in rows], schema))
    assert set(states) <= STATES
    assert sum(states.values()) == count

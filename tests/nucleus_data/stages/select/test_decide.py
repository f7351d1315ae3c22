import json
import random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleus_data.stages.select.decide import count_states
from tests.support.judged import FAILED, FILE, TONE, judge, one, records, table

STATES = {"kept", "rejected", "failed", "pending"}


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


def test_null_does_not_reject_and_is_counted():
    rules = {"small": "width < 200", "big": "width > 200", "format": "format = 'png'"}
    row = one(rules, file=(0, None, "jpeg"))
    assert (row["state"], row["reasons"]) == ("kept", [])
    assert row["nulls"] == ["small", "big"]
    row = one(rules, file=(0, None, "png"))
    assert (row["state"], row["reasons"]) == ("rejected", ["format"])
    assert row["nulls"] == ["small", "big"]


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


@settings(max_examples=10)
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

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import ValidationError

from nucleus_data.errors import RequestError
from nucleus_data.pages import queries
from nucleus_data.stages.select.settings import TierSettings
from nucleus_data.stages.select.tiers import check_score, check_tiers
from nucleus_data.views.status import status
from nucleus_data.views.status_lines import status_lines
from tests.support import curated
from tests.support.judged import FILE, TONE, judge, records, table
from tests.support.selecting import RULES


@pytest.mark.slow
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
    said = list(status_lines(status(made.run, made.stages)))
    assert any("kept by quality tier: 2 A1, 1 A2" in line for line in said)
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


@pytest.mark.slow
def test_a_table_that_only_tiers_read_is_not_waited_for(corpus):
    tiers = "select.tiers={score: luma_mean, bounds: [0]}"
    for folder in Path(corpus.uri, "tables/inspect.tone").iterdir():
        (folder / "000001-0.parquet").unlink()
    prefer = "select.prefer=[width * height desc]"
    made = curated.run(corpus.uri, "select", RULES, tiers, prefer)
    made.do("dedup")
    assert made.select()["pending"] == 0
    rows = curated.table(corpus, "selection", made.tables["selection"])
    assert {(row["shard"], row["tier"]) for row in rows if row["state"] == "kept"} == {
        (0, "A1"),
        (1, None),
    }
    before = made.tables["selection"]
    curated.inspect(corpus)  # now there is a score
    again = curated.run(corpus.uri, "select", RULES, tiers, prefer)
    again.pin("select")
    assert again.tables["selection"] != before


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"score": "widht"},
            "select.tiers.score: 'widht' reads 'widht', which is not in any table",
        ),
        ({"score": "avg(width)"}, "is an aggregate over many records"),
        (
            {"score": "width > 3"},
            "select.tiers.score: 'width > 3' has type boolean; a score must be a number",
        ),
        ({"score": "format"}, "a score must be a number"),
        ({"score": "length(width)"}, "does not fit the types of its columns"),
    ],
)
def test_a_wrong_score_is_told_before_any_shard(settings, said):
    catalog = {"width": "inspect.file", "format": "inspect.file"}
    types = {("inspect.file", "width"): pa.int32(), ("inspect.file", "format"): pa.string()}

    def check():
        check_score(check_tiers(TierSettings(**settings), catalog, []), types)

    with pytest.raises(RequestError) as caught:
        check()
    assert said in str(caught.value)


def test_bounds_rise():
    for bounds in ([5.0, 5.0], [6.0, 5.0], [], [float("nan")], [1.0, float("inf")]):
        with pytest.raises(
            ValidationError, match=r"bounds must be in increasing order|at least 1|finite number"
        ):
            TierSettings(score="width", bounds=bounds)
    assert check_tiers(TierSettings(), {}, []) is None


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

import pyarrow as pa
import pytest

from nucleus_data.errors import RequestError
from nucleus_data.stages.select.rules import check_rules, check_types
from nucleus_data.stages.select.settings import SelectSettings

CATALOG = {
    "width": "inspect.file",
    "height": "inspect.file",
    "format": "inspect.file",
    "luma_std": "inspect.tone",
}
TYPES = {
    ("inspect.file", "width"): pa.int32(),
    ("inspect.file", "height"): pa.int32(),
    ("inspect.file", "format"): pa.string(),
    ("inspect.tone", "luma_std"): pa.float32(),
    ("records", "source.caption"): pa.string(),
    ("records", "source.punsafe"): pa.float64(),
}
UPSTREAM = ["caption", "punsafe"]


def rules_of(**conditions):
    return check_rules(SelectSettings(rules=conditions), CATALOG, UPSTREAM)


def refused(condition):
    with pytest.raises(RequestError) as error:
        rules_of(r=condition)
    said = str(error.value)
    assert said.startswith(f"select.rules.r: {condition!r}")
    return said


def test_a_rule_knows_its_columns_and_tables():
    small, odd, plain = rules_of(
        small="least(width, height) < 256 OR luma_std < 2",
        odd={"where": "source.punsafe > 0.5 AND width > 1", "action": "flag", "reason": "unsafe"},
        plain="true",
    )
    assert [c.sql for c in small.columns] == ['"width"', '"height"', '"luma_std"']
    assert small.tables == ("inspect.file", "inspect.tone")
    assert (small.action, small.reason) == ("reject", "small")
    assert odd.tables == ("records", "inspect.file")
    assert [c.sql for c in odd.columns] == ['source."punsafe"', '"width"']
    assert (odd.action, odd.reason) == ("flag", "unsafe")
    assert plain.tables == ()


@pytest.mark.parametrize(
    "condition",
    [
        "format NOT IN ('jpeg', 'png') AND width BETWEEN 3 AND 5",
        "regexp_matches(source.caption, 'stock') OR source.caption ILIKE '%photo%'",
        "CASE WHEN width > height THEN width / height > 3 ELSE false END",
        "coalesce(luma_std, 0) < 1 -- with a comment",
        "width::DOUBLE / height > 1.5",
        "hash(width) % 100 = 0",
        "width - height > 3 OR -width > 3 OR width + height < 9",
        "year(TIMESTAMP '2020-01-01') - width > 1000",
    ],
)
def test_conditions_on_one_record_are_allowed(condition):
    check_types(rules_of(r=condition), TYPES)


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ("width < avg(width)", "uses avg(), which is an aggregate over many records"),
        ("count(*) > 1", "uses count_star(), which is an aggregate over many records"),
        ("count(*) OVER () > 1", "contains a window"),
        ("row_number() OVER (ORDER BY width) > 10", "contains a window"),
        ("width < (SELECT 3)", "contains a subquery"),
        ("EXISTS (SELECT 1)", "contains a subquery"),
        ("width IN (SELECT 1)", "contains a subquery"),
        ("random() < 0.5", "uses random(), which does not always return the same result"),
        ("age(taken) > '1 year'", "uses age(), which does not always return the same result"),
        ("now() > '2020-01-01'", "uses now(), which does not always return the same result"),
        ("uuid() = ''", "uses uuid(), which does not always return the same result"),
        ("frobnicate(width)", "uses frobnicate(), which is not a DuckDB function"),
        ("*", "contains a star"),
        ("COLUMNS('w.*') > 3", "contains a star"),
        ("width > $1", "contains a parameter"),
        ("width > ?", "contains a parameter"),
    ],
)
def test_what_is_not_about_one_record_is_refused(condition, reason):
    said = refused(condition)
    assert reason in said
    assert "a rule is a condition on one record" in said


@pytest.mark.parametrize("condition", ["width <", "width < 3 3", "(width", "width < 3; SELECT 1"])
def test_what_is_no_sql_is_refused(condition):
    assert "is not valid SQL: " in refused(condition)


@pytest.mark.parametrize(
    "condition",
    [
        "1); SELECT (2",
        "1), (2",
        "1) FROM range(3",
        "1) WHERE (width < 3",
        "1) GROUP BY (width",
        "1) HAVING (true",
        "1) QUALIFY (true",
        "1) ORDER BY (width",
        "1) LIMIT (1",
        "1) USING SAMPLE (3",
        "1) UNION SELECT (2",
    ],
)
def test_what_is_more_than_one_condition_is_refused(condition):
    said = refused(condition)
    assert "must be a single SQL condition" in said or "is not valid SQL" in said


def test_an_unknown_column_is_named_with_the_nearest_and_all_known_ones():
    said = refused("widht < 3")
    assert "reads 'widht', which is not in any table. Did you mean 'width'?" in said
    assert said.endswith("Available: format, height, luma_std, width, source.NAME")
    said = refused("source.punsave > 1")
    assert "Did you mean 'source.punsafe'? Available: source.caption, source.punsafe" in said
    assert "'file.width', which is not in any table" in refused("file.width < 3")
    assert "'current_date', which is not in any table" in refused("current_date > '2020-01-01'")
    with pytest.raises(RequestError, match="Available: none"):
        check_rules(SelectSettings(rules={"r": "source.caption = ''"}), CATALOG, [])


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ("width", "has type integer; it must be a condition, true or false"),
        ("format", "has type varchar; it must be a condition, true or false"),
        ("width, height", "true or false"),
        (" ", "must be a single SQL condition"),
        ("length(width) > 3", "does not fit the types of its columns: Binder Error"),
        ("source.punsafe LIKE '%x'", "does not fit the types of its columns: Binder Error"),
        ("width = 'wide'", "does not fit the types of its columns: Conversion Error"),
    ],
)
def test_a_condition_that_does_not_fit_its_columns_is_refused(condition, reason):
    with pytest.raises(RequestError) as error:
        check_types(rules_of(r=condition), TYPES)
    assert str(error.value).startswith(f"select.rules.r: {condition!r} ")
    assert reason in str(error.value)

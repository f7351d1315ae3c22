"""Where a configuration meets SQL: one expression of allowed kinds runs, and nothing but that."""

import re
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleus_data.errors import RequestError
from nucleus_data.line.recipe import load_recipe
from nucleus_data.stages.select.allowed import DEPTH, GROWTH, KINDS, check
from nucleus_data.stages.select.database import sealed
from nucleus_data.stages.select.expression import (
    LETTERS,
    Names,
    _expression,
    _query,
    parse_condition,
    parse_order,
)
from nucleus_data.stages.select.functions import PLAIN, REPEATS, REPLACES
from nucleus_data.stages.select.rules import record_of_nulls
from nucleus_data.stages.select.stage import Select

REPOSITORY = Path(__file__).resolve().parents[4]
NAMES = Names({"width": "own", "format": "own", "caption": "own"}, ["alt"])
TYPES = {
    ("own", "width"): pa.int32(),
    ("own", "format"): pa.string(),
    ("own", "caption"): pa.string(),
    ("records", "source.alt"): pa.string(),
}
FILE = "{folder}/written.csv"


def parse(text, order=False):
    return (parse_order if order else parse_condition)(text, "key", NAMES)


def refused(text, order=False):
    with pytest.raises(RequestError) as caught:
        parse(text, order)
    return str(caught.value)


STATEMENTS = [
    f"COPY (SELECT 1) TO '{FILE}'",
    "ATTACH '{folder}/attached.db' AS a",
    "ATTACH '{folder}/attached.db' AS a; CREATE TABLE a.t AS SELECT 1",
    "SET lock_configuration = false",
    "SET enable_external_access = true",
    "INSTALL inet; LOAD inet",
    "CREATE TABLE t AS SELECT 1",
    f"SELECT * FROM read_text('{FILE}')",
    "PRAGMA database_list",
    "EXPORT DATABASE '{folder}/out'",
]
BRIDGES = ["{0}; {1}", "{0} -- x\n; {1}", "{0} /* */; {1}; --", "{0}); {1}; SELECT (1", "{1}"]


@pytest.mark.parametrize("order", [False, True], ids=["condition", "order"])
@pytest.mark.parametrize("bridge", BRIDGES)
@pytest.mark.parametrize("statement", STATEMENTS)
def test_no_statement_gets_through(tmp_path, statement, bridge, order):
    text = bridge.format("width > 3", statement).format(folder=tmp_path)
    assert refused(text, order).startswith("key: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("TRY_CAST(format AS INET) IS NULL", "casts to INET, which is not allowed"),
        ("format::ENUM('a') IS NULL", "casts to ENUM"),
        ("width::INTEGER[90000] IS NULL", "casts to array"),
        ("len(range(0, 100000000)) > 1", "uses range(), which is not allowed in a configuration"),
        ("length(printf('%1000000000d', 1)) > 1", "uses printf()"),
        ("length(format('{:1000000000d}', 1)) > 1", "uses format()"),
        ("#1 > 0", "contains a positional reference"),
        ("list_filter([1], x -> x > 0) = [1]", "uses list_filter()"),
        (
            "length(repeat('x', 1000000000)) > 1",
            "uses repeat() with a count that is not",
        ),
        ("length(repeat('x', width)) > 1", "uses repeat() with a count that is not"),
        ("length(lpad(format, 500 * 500)) > 1", "uses lpad() with a count"),
        (
            "repeat(repeat(repeat('a', 999), 999), 999) = ''",
            "makes up to 997,002,999 times",
        ),
        (
            "replace(format, 'a', caption) = ''",
            "replace() with a replacement that is",
        ),
        ("replace(repeat(format, 9999), 'a', 'bb') = ''", "makes up to 19,998 times as much"),
        ("regexp_replace(format, '.', repeat('x', 99), 'g') = ''", "that is not a text in quotes"),
        ("hex(" * 20 + "format" + ")" * 20 + " = ''", "makes up to 1,048,576 times as much"),
        ("repeat(format, " + "9" * 9000 + ") = ''", "uses repeat() with a count that is not"),
        ("width > 1 \0; SELECT 1", "has an invalid character"),
        ("format = '\ud800'", "has an invalid character"),
        ("current_setting('threads') = '1'", "uses current_setting()"),
        ("getvariable('x') = 1", "uses getvariable()"),
        ("nextval('x') = 1", "uses nextval()"),
        ("error('x')", "uses error()"),
        ("json_serialize_sql('SELECT 1') = ''", "uses json_serialize_sql(), which"),
        (
            "system.main.lower(format) = 'a'",
            "uses lower() with DISTINCT, FILTER, ORDER BY or a schema",
        ),
        (
            "list_sum([width]) = 1",
            "list_sum(), which is not a DuckDB function",
        ),
        ("not " * (DEPTH + 2) + "true", f"nested more than {DEPTH} levels deep"),
        ("1 + " * 900 + "1 > 0", f"nested more than {DEPTH} levels deep"),
        ("[" * 5000 + "]" * 5000, "is not valid SQL"),
        ("width > 1 AND " * 2000 + "true", "has 28,004 characters; the limit is 20,000"),
        ("'" + "x" * 20_000 + "' = format", "characters; the limit is 20,000"),
        ("(SELECT 1) = 1", "contains a subquery"),
        ("width > 1 LIMIT 3", "is not valid SQL"),
        ("WITH a AS (SELECT 1) SELECT 1", "key: "),
        ("width AS w", "is not valid SQL"),
        ("  ", "must be a single SQL condition"),
        ("-- nothing", "must be a single SQL condition"),
        ("1 FROM '/etc/passwd'", "is not valid SQL"),
        ("1) FROM ('/etc/passwd'", "key: "),
    ],
)
def test_what_is_not_allowed_is_named(text, reason):
    said = refused(text)
    assert reason in said
    assert len(said) < 600


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("width desc, format", "must be a single SQL order"),
        ("width desc limit 3", "must be a single SQL order"),
        ("1", "reads no column, so it orders nothing"),
        ("random()", "does not always return the same result"),
        ("all", "contains a star"),
        ("heigth desc", "which is not in any table"),
        ("width using >", "is not a valid order: syntax error"),
    ],
)
def test_an_order_is_one_value_and_a_direction(text, reason):
    assert reason in refused(text, order=True)


def test_the_docs_list_what_is_allowed():
    said = (REPOSITORY / "nucleus_data/docs/rules.md").read_text().replace("\\|", "|").split()
    listed = {word.strip("`,") for word in said}
    assert {*PLAIN, *REPEATS, *REPLACES} <= listed
    assert {f"{LETTERS:,}", f"{GROWTH:,}", str(DEPTH)} <= listed


def test_an_order_is_written_with_its_direction():
    found = parse("width * 2 -- the larger\n desc\nnulls\nlast", order=True)
    assert found.sql == "(width * 2) DESC NULLS LAST"
    assert [column.name for column in found.columns] == ["width"]
    assert parse("width", order=True).sql == "width"


WORDS = st.sampled_from(
    [
        *("width", "format", "source.alt", "1", "'a'", "NULL", "true", "-1.5", "[1, 2]"),
        *(
            "(",
            ")",
            ",",
            ";",
            "--",
            "\n",
            "/*",
            "*/",
            "'",
            '"',
            "$$",
            "::",
            ".",
            "*",
            "=",
            ">",
            "-",
        ),
        *("AND", "OR", "NOT", "IS NULL", "IN (1, 2)", "BETWEEN 1 AND 2", "LIKE 'a%'", "desc"),
        *("lower(format)", "length(caption)", "repeat(format, 9)", "CASE WHEN", "THEN", "END"),
        *("SELECT", "FROM", "WHERE", "UNION", "LIMIT 1", "ORDER BY", "GROUP BY", "HAVING", "WITH"),
        *("COPY", "ATTACH", "SET", "range(9)", "random()", "count(*)", "'/etc/hosts'", "INET"),
        *("OVER ()", "FILTER (true)", "COLLATE nocase", "AT TIME ZONE 'UTC'", "x -> x", "#1", "?"),
    ]
)


@pytest.mark.slow
@settings(max_examples=200, derandomize=True)
@given(st.lists(WORDS, min_size=1, max_size=9), st.booleans())
def test_whatever_the_text_one_allowed_expression_runs_or_none(words, order):
    text = " ".join(words)
    try:
        found = parse(text, order)
    except RequestError:
        return
    query = f"SELECT {found.value} FROM record"
    (statement,) = duckdb.extract_statements(query)
    assert statement.type == duckdb.StatementType.SELECT
    tree = _expression(_query(sealed(), found.value, "key", order=False))
    check(tree, found.value, "key")  # what runs is allowed, as what was written is
    assert tree["class"] in KINDS
    connection = sealed()
    connection.register("record", record_of_nulls(found.columns, TYPES))
    try:
        rows = connection.execute(query).fetchall()
    except duckdb.Error:
        return  # it does not fit its types, which is told when it is tried
    assert len(rows) == 1


def shipped():
    """All rules, orders and scores of the recipes and of the docs' YAML."""
    found = []
    for path in sorted(REPOSITORY.glob("configs/*/recipe.yaml")):
        chosen = load_recipe(path, ["corpus=c"]).section(Select)
        found += [(rule.where, False) for rule in chosen.rules.values()]
        found += [(order, True) for order in chosen.prefer]
        found += [(chosen.tiers.score, False)] if chosen.tiers.score else []
    for path in [REPOSITORY / "README.md", *sorted(REPOSITORY.glob("nucleus_*/docs/*.md"))]:
        for block in re.findall(r"```yaml\n(.*?)```", path.read_text(), re.S):
            rules = ((yaml.safe_load(block) or {}).get("select") or {}).get("rules") or {}
            found += [(r if isinstance(r, str) else r["where"], False) for r in rules.values()]
    return sorted(set(found))


@pytest.mark.slow
def test_what_runs_gives_the_values_of_what_was_written():
    """On 400 records with NULLs, of every shipped rule, order and score."""
    recipe = load_recipe(REPOSITORY / "configs" / "full" / "recipe.yaml", ["corpus=c"])
    pins = recipe.pins()
    signals = pins.signals()
    names = Names(pins.catalog(), ["caption", "url", "punsafe", "nsfw", "similarity"])
    rng = np.random.default_rng(0)
    texts = shipped()
    assert len(texts) > 20

    def column(kind):
        if pa.types.is_floating(kind):
            values = rng.normal(0, 30, 400)
        elif pa.types.is_integer(kind):
            values = rng.integers(0, 100, 400)
        elif pa.types.is_boolean(kind):
            values = rng.random(400) < 0.5
        else:
            return pa.array([None if i % 7 == 0 else f"jpeg{i % 5}" for i in range(400)]).cast(kind)
        return pa.array(values, kind, mask=rng.random(400) < 0.1)

    for text, order in texts:
        found = (parse_order if order else parse_condition)(text, "key", names)
        own = [c for c in found.columns if c.table != "records"]
        table = {c.name: column(signals[c.table, c.name]) for c in own}
        if upstream := [c.name.removeprefix("source.") for c in found.columns if c not in own]:
            values = [column(pa.string()) for _ in upstream]
            table["source"] = pa.StructArray.from_arrays(values, upstream)
        connection = sealed()
        connection.register("record", pa.table({"place": pa.array(range(400)), **table}))
        if order:
            ours, theirs = (
                connection.execute(f"SELECT place FROM record ORDER BY {sql}, place").fetchall()
                for sql in (found.sql, text)
            )
        else:
            ours, theirs = (
                connection.execute(f"SELECT ({sql}\n) FROM record").fetchall()
                for sql in (found.sql, text)
            )
        assert ours == theirs, text
        assert len(set(ours)) > 1 or not found.columns, text

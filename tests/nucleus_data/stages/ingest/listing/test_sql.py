import duckdb
import pytest

from nucleus_data.errors import RequestError
from nucleus_data.stages.ingest.listing.sql import (
    caption_column,
    chosen_column,
    described,
    found_column,
    meeting,
    upstream_columns,
)


@pytest.fixture
def connection():
    with duckdb.connect() as made:
        yield made


def test_columns_become_plain_and_what_is_not_kept_as_it_was_is_named(connection):
    query = (
        "SELECT [1, 2] AS tags, {'a': 1, 'b': ['x']} AS more, 1.5::DECIMAL(4, 1) AS price, "
        "'x'::BLOB AS data, {'bytes': 'x'::BLOB} AS image, 7::HUGEINT AS huge, "
        "TIMESTAMP '2020-01-02' AS taken, ' a ' AS text, 'b' AS caption, 'c' AS captions, "
        "'u' AS caption_error, 1 AS k"
    )
    columns = upstream_columns(
        connection, query, special={"caption": "text", "url": None}, leave_out=("k",)
    )
    assert columns.notes() == [
        "binary columns left out: data, image",
        "lists and structures kept as JSON text: tags, more",
    ]
    found = f"SELECT {columns.select} FROM ({query})"
    assert described(connection, found) == {
        "source.tags": "VARCHAR",
        "source.more": "VARCHAR",
        "source.price": "DOUBLE",
        "source.huge": "VARCHAR",
        "source.taken": "TIMESTAMP",
        "source.caption": "VARCHAR",  # of `text`, which was said to be the caption
        "source.caption_upstream": "VARCHAR",
        "source.captions_upstream": "VARCHAR",  # `source.captions` is a list of texts, always
        "source.caption_error_upstream": "VARCHAR",
    }
    (row,) = connection.sql(found).fetchall()
    assert row[:4] == ("[1,2]", '{"a":1,"b":["x"]}', 1.5, "7")
    assert row[5:7] == ("a", "b")


def test_captions_are_texts_or_lists_of_texts(connection):
    kinds = {"caption": "STRUCT(en VARCHAR)", "text": "INTEGER[]", "captions": "VARCHAR[]"}
    assert caption_column(kinds, None, "l") == "captions"
    assert caption_column({"text": "INTEGER[]"}, None, "l") is None
    with pytest.raises(RequestError, match=r"caption_column='text': in l, .*INTEGER\[\].*lists of"):
        caption_column(kinds, "text", "l")


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("{'en': 'a cat'}", '{"en":"a cat"}'),
        ("[{'en': 'a cat'}]", '[{"en":"a cat"}]'),
        ("'a cat'::BLOB", None),
    ],
)
def test_what_is_no_caption_is_none_whatever_its_column_is_called(connection, value, kept):
    for name in ("caption", "Caption"):
        query = f"SELECT {value} AS {name}, 1 AS k"
        columns = upstream_columns(connection, query, special={"caption": None})
        found = connection.sql(f"SELECT {columns.select} FROM ({query})")
        assert "source.caption" not in map(str.lower, found.columns)
        (row,) = found.fetchall()
        values = dict(zip(found.columns, row, strict=True))
        assert values.get(f"source.{name}_upstream") == kept


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ("1999", "DATE '2020-01-01'", ["1999", "2020-01-01"]),
        ("true", "TIMESTAMP '2020-01-01'", ["true", "2020-01-01 00:00:00"]),
        ("5", "{'a': 1}", ["5", '{"a":1}']),
        ("'x'", "['a', 'b']", ["x", '["a","b"]']),
        ("1", "1.5", [1.0, 1.5]),  # as they are: one type holds both
        ("NULL", "[1]", [None, [1]]),
    ],
)
def test_columns_whose_types_do_not_meet_are_texts(connection, one, other, found):
    queries = meeting(connection, [f"SELECT {one} AS n, 7 AS k", f"SELECT {other} AS N, 8 AS k"])
    rows = connection.sql(" UNION ALL BY NAME ".join(f"({query})" for query in queries)).fetchall()
    assert rows == [(found[0], 7), (found[1], 8)]


def test_a_column_is_the_one_asked_for_or_the_first_usual_one():
    columns = ["URL", "Text", "alt"]
    assert found_column(columns, None, ("caption", "text", "alt"), "l", "caption_column") == "Text"
    assert found_column(columns, "alt", ("text",), "l", "caption_column") == "alt"
    assert found_column(columns, None, ("caption",), "l", "caption_column") is None
    with pytest.raises(RequestError, match=r"ingest.caption_column='nix': l has no such column"):
        found_column(columns, "nix", (), "l", "caption_column")
    with pytest.raises(RequestError, match=r"Choose one with ingest\.url_column"):
        chosen_column(columns, None, ("link",), "l", "url_column")


@pytest.mark.parametrize("kind", ["DATE", "TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMP_NS"])
def test_dates_and_times_are_those_that_python_has(connection, kind):
    """Of any other, `explain` would end in an error."""
    connection.execute("SET TimeZone = 'America/New_York'")
    years = ["2024-05-06"] if kind == "TIMESTAMP_NS" else ["0001-01-02", "2024-05-06"]
    values = ["'infinity'", "'-infinity'", *(f"'{year}'" for year in years), "NULL"]
    if kind != "TIMESTAMP_NS":
        values += ["'10000-01-01'", "'0044-03-15 (BC)'"]
    query = f"SELECT unnest([{', '.join(values)}])::{kind} AS taken"
    columns = upstream_columns(connection, query, special={})
    found = connection.sql(f"SELECT {columns.select} FROM ({query})").to_arrow_table()
    kept = [value for value in found["source.taken"].to_pylist() if value is not None]
    assert len(found) == len(values)
    assert [str(value)[:10] for value in kept] == years
    (note,) = columns.notes()
    assert note == "dates and times outside of the years 1 to 9999 left out of: taken"
    inside = f"SELECT unnest([{values[2]}, NULL])::{kind} AS taken"
    assert upstream_columns(connection, inside, special={}).notes() == []
    if kind == "TIMESTAMP_NS":  # without pandas, Python has no nanoseconds
        assert described(connection, f"SELECT {columns.select} FROM ({query})") == {
            "source.taken": "TIMESTAMP"
        }

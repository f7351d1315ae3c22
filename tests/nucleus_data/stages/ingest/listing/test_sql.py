import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nucleus_data.errors import RequestError
from nucleus_data.stages.ingest.listing.sql import (
    chosen_column,
    described,
    found_column,
    list_query,
    upstream_columns,
)


@pytest.fixture
def connection():
    with duckdb.connect() as made:
        yield made


def test_columns_become_plain_and_binary_ones_stay_out(connection):
    query = (
        "SELECT [1, 2] AS tags, {'a': 1} AS more, 1.5::DECIMAL(4, 1) AS price, 'x'::BLOB AS data, "
        "7::HUGEINT AS huge, TIMESTAMP '2020-01-02' AS taken, ' a ' AS text, 'b' AS caption, 1 AS k"
    )
    items, binary = upstream_columns(
        connection, query, special={"caption": "text", "url": None}, leave_out=("k",)
    )
    assert binary == ["data"]
    found = f"SELECT {items} FROM ({query})"
    assert described(connection, found) == {
        "source.tags": "VARCHAR",
        "source.more": "VARCHAR",
        "source.price": "DOUBLE",
        "source.huge": "VARCHAR",
        "source.taken": "TIMESTAMP",
        "source.caption": "VARCHAR",  # of `text`, which was said to be the caption
        "source.caption_upstream": "VARCHAR",
    }
    (row,) = connection.sql(found).fetchall()
    assert row[:4] == ("[1,2]", '{"a":1}', 1.5, "7")
    assert row[5:] == ("a", "b")


def test_a_column_is_the_one_asked_for_or_the_first_usual_one():
    columns = ["URL", "Text", "alt"]
    assert found_column(columns, None, ("caption", "text", "alt"), "l", "caption_column") == "Text"
    assert found_column(columns, "alt", ("text",), "l", "caption_column") == "alt"
    assert found_column(columns, None, ("caption",), "l", "caption_column") is None
    with pytest.raises(RequestError, match=r"ingest.caption_column='nix': l has no such column"):
        found_column(columns, "nix", (), "l", "caption_column")
    with pytest.raises(RequestError, match=r"Say which with ingest\.url_column"):
        chosen_column(columns, None, ("link",), "l", "url_column")


def test_files_of_one_kind_are_read_together(connection, tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": [2], "b": ["x"]}), tmp_path / "2.parquet")
    (tmp_path / "3.csv").write_text("a\n5\nx\n")
    paths = [str(tmp_path / name) for name in ("1.parquet", "2.parquet", "3.csv")]
    query = list_query(paths[:2], {}, connection, "list")
    assert connection.sql(query).fetchall() == [(1, None), (2, "x")]
    # All of a CSV decides about its types, not its first rows.
    assert described(connection, list_query(paths[2:], {}, connection, "list")) == {"a": "VARCHAR"}
    with pytest.raises(RequestError, match="one kind at a time"):
        list_query(paths[1:], {}, connection, "list")
    with pytest.raises(RequestError, match="list: there is no file"):
        list_query([str(tmp_path / "absent.csv")], {}, connection, "list")
    (tmp_path / "4.parquet").write_bytes(b"no Parquet")
    with pytest.raises(RequestError, match=r"4\.parquet' cannot be read"):
        list_query([str(tmp_path / "4.parquet")], {}, connection, "list")

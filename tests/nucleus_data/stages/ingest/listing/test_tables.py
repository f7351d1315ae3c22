import gzip

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nucleus_data.corpus.store import Store
from nucleus_data.errors import RequestError
from nucleus_data.stages.ingest.listing.sql import described
from nucleus_data.stages.ingest.listing.tables import read_tables, utf8_copy
from tests.support.quick import quick


@pytest.fixture
def connection():
    with duckdb.connect() as made:
        yield made


@pytest.fixture
def read(connection, tmp_path):
    folder = tmp_path / "temporary"
    folder.mkdir()

    def read(*contents, suffix="csv", encoding=None):
        paths = []
        for number, content in enumerate(contents):
            path = tmp_path / f"{number}.{suffix}"
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            paths.append(str(path))
        table = read_tables(paths, {}, connection, "list", folder, encoding)
        return connection.sql(table.query).fetchall(), table

    return read


def test_an_empty_csv_has_no_rows_and_no_columns(read):
    found, _ = read("", "url,caption\nu1,c1\n", "")
    assert found == [("u1", "c1")]
    with pytest.raises(RequestError, match=r"list: .*0\.csv' is empty; its first line must name"):
        read("", "")
    with pytest.raises(RequestError, match="is empty"):
        read(gzip.compress(b""), suffix="csv.gz")


def test_files_of_one_kind_are_read_together(connection, tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": [2], "b": ["x"]}), tmp_path / "2.parquet")
    (tmp_path / "3.csv").write_text("a\n5\nx\n")
    paths = [str(tmp_path / name) for name in ("1.parquet", "2.parquet", "3.csv")]
    query = read_tables(paths[:2], {}, connection, "list", tmp_path).query
    assert connection.sql(query).fetchall() == [(1, None), (2, "x")]
    # All of a CSV decides about its types, not its first rows.
    query = read_tables(paths[2:], {}, connection, "list", tmp_path).query
    assert described(connection, query) == {"a": "VARCHAR"}
    with pytest.raises(RequestError, match="one kind at a time"):
        read_tables(paths[1:], {}, connection, "list", tmp_path)
    with pytest.raises(RequestError, match="list: no such file"):
        read_tables([str(tmp_path / "absent.csv")], {}, connection, "list", tmp_path)
    (tmp_path / "4.parquet").write_bytes(b"no Parquet")
    with pytest.raises(RequestError, match=r"4\.parquet' cannot be read"):
        read_tables([str(tmp_path / "4.parquet")], {}, connection, "list", tmp_path)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"u4,a,b", "Expected Number of Columns: 2 Found: 3"),
        (b"u4", "Expected Number of Columns: 2 Found: 1"),
        (b"u4,K\xe4tzchen", "Invalid unicode"),
    ],
)
@pytest.mark.parametrize("place", [0, 4, 9])
def test_a_damaged_row_costs_itself_alone(read, row, reason, place):
    lines = [b"url,caption", *(b"u%d,x" % i for i in range(10))]
    lines[place + 1] = row
    rows, table = read(b"\n".join(lines) + b"\n")
    assert len(rows) == 9
    (damaged,) = table.damaged
    assert (damaged.file, damaged.line) == ("0.csv", place + 2)
    assert reason in damaged.reason
    assert table.notes("the list")[0].startswith("1 rows of the list cannot be read: 0.csv line")


@pytest.mark.parametrize("columns", [2, 3])
@pytest.mark.parametrize("places", quick([[0], [2, 7], [4], [9]], 2))
def test_a_quote_that_is_never_closed_costs_its_own_row(read, columns, places):
    """Though nearly all other rows have quotes, so that no way without them reads the file."""
    end = ",1" if columns == 3 else ""
    lines = [f'u{i},"a, {i}"{end}' for i in range(10)]
    lines[5] = f'u5,"two\nlines, 5"{end}'
    for place in places:
        lines[place] = f'u{place},"never closed{end}'
    rows, table = read("url,caption" + (",n" if end else "") + "\n" + "\n".join(lines) + "\n")
    kept = [i for i in range(10) if i not in places]
    assert [row[0] for row in rows] == [f"u{i}" for i in kept]
    assert [row[1] for row in rows] == ["two\nlines, 5" if i == 5 else f"a, {i}" for i in kept]
    assert not end or {row[2] for row in rows} == {1}, "types are found all the same"
    expected = [place + 2 + (place > 5) for place in places]
    assert [row.line for row in table.damaged] == expected


@pytest.mark.parametrize("end", ['u9,"cut of', 'u9,"', 'u9,"a" b"'])
@pytest.mark.parametrize("text", ["a cat", 'a ""good"" cat'])
def test_quotes_of_the_other_rows_stay_quotes_where_one_is_never_closed(read, text, end):
    """Though no text has a comma, so that a way without quotes reads every line."""
    lines = [f'u{i},"{text}"' for i in range(9)]
    rows, table = read("url,caption\n" + "\n".join([*lines, end]))
    assert rows == [(f"u{i}", text.replace('""', '"')) for i in range(9)]
    assert [row.line for row in table.damaged] == [11]


def test_quotes_round_few_texts_stay_quotes_where_one_is_never_closed(read):
    lines = [f"u{i},a cat" for i in range(9)]
    rows, table = read(
        "url,caption\n" + "\n".join([*lines, *['u9,"a ""big"" cat"'] * 2, 'u10,"cut of'])
    )
    assert rows == [(f"u{i}", "a cat") for i in range(9)] + [("u9", 'a "big" cat')] * 2
    assert [row.line for row in table.damaged] == [13]


def test_texts_of_two_lines_stay_whole_where_the_last_one_is_cut(read):
    lines = [f'u{i},"two\nlines {i}"' for i in range(9)]
    rows, table = read("url,caption\n" + "\n".join([*lines, 'u9,"two\nli']))
    assert rows == [(f"u{i}", f"two\nlines {i}") for i in range(9)]
    assert [row.line for row in table.damaged] == [20, 21]


def test_texts_that_quote_somebody_stay_as_they_are(read):
    lines = ["u0\ta cat", 'u1\t"Hi" he said', 'u2\t"Hi there"', 'u3\tcalled "Tom"', 'u4\t"5 inch']
    rows, table = read("url\tcaption\n" + "\n".join(lines) + "\n", suffix="tsv")
    assert rows == [tuple(line.split("\t")) for line in lines]
    assert table.damaged == []


def test_the_damaged_rows_of_each_file_are_its_own(read):
    rows, table = read("url,caption\nu0,x\nu1,x,y\n", "url,n\nu2,1\n", "url,caption\nu3\nu4,b\n")
    assert rows == [("u0", "x", None), ("u2", None, 1), ("u4", "b", None)]
    assert [(row.file, row.line) for row in table.damaged] == [("0.csv", 3), ("2.csv", 2)]


@pytest.mark.slow
def test_files_whose_columns_have_other_types(read):
    rows, _ = read("url,taken\nu0,1999\n", "url,taken\nu1,2020-01-02\n")
    assert rows == [("u0", "1999"), ("u1", "2020-01-02")]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_numbers_in_one_parquet_file_and_structures_in_another(connection, tmp_path, order):
    for name, value in enumerate((1, {"k": 1})):
        pq.write_table(pa.table({"url": [f"u{name}"], "n": [value]}), tmp_path / f"{name}.parquet")
    paths = [str(tmp_path / f"{name}.parquet") for name in order]
    table = read_tables(paths, {}, connection, "list", tmp_path)
    found = [("u0", "1"), ("u1", '{"k":1}')]
    assert connection.sql(table.query).fetchall() == [found[name] for name in order]


@pytest.mark.slow
def test_line_ends_of_two_kinds_and_long_cells(read):
    rows, table = read("url,caption\nu0,x\r\nu1,y\n")
    assert (rows, table.damaged) == ([("u0", "x"), ("u1", "y")], [])
    rows, table = read(f"url,caption\nu0,{'x' * 3_000_000}\nu1,y\nu2,y,z\n")
    assert [(url, len(caption)) for url, caption in rows] == [("u0", 3_000_000), ("u1", 1)]
    assert len(table.damaged) == 1


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_mark_says_a_lists_encoding(read, encoding):
    rows, table = read("url,caption\nu0,K\xe4tzchen \U0001f408\nu1,y\n".encode(encoding))
    assert rows == [("u0", "K\xe4tzchen \U0001f408"), ("u1", "y")]
    assert table.damaged == []


def test_a_named_encoding_is_for_the_lines_that_are_no_utf8(read):
    content = b"url,caption\nu0,K\xe4tzchen\n" + "u1,K\xe4tzchen\n".encode()
    rows, _ = read(content, encoding="latin-1")
    assert rows == [("u0", "K\xe4tzchen"), ("u1", "K\xe4tzchen")]


def test_a_list_that_is_not_in_the_encoding_of_its_mark_is_refused(read, tmp_path):
    with pytest.raises(RequestError, match=r"0\.csv: .*utf-16"):
        read(b"\xff\xfea\0b")
    (tmp_path / "plain.csv").write_text("a")  # is read where it lies
    assert utf8_copy(Store(str(tmp_path)), "plain.csv", tmp_path / "copy", None) is None

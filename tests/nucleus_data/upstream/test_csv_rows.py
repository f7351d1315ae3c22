import io

import pytest

from nucleus_data.upstream.csv_rows import CsvRows


def rows(text, names=None):
    found = CsvRows(io.BytesIO(text.encode()), names)
    return found.names, [(row.line, list(row.fields), row.problem) for row in found.rows()]


@pytest.mark.parametrize("mark", [",", "\t", ";", "|"])
def test_the_first_line_tells_columns_and_separator(mark):
    names, found = rows(f'a{mark}b\n1{mark}"x{mark}y"\n\n2{mark}"two\nlines"\n')
    assert names == ["a", "b"]
    assert found == [(2, ["1", f"x{mark}y"], ""), (4, ["2", "two\nlines"], "")]


def test_columns_may_be_given_for_a_file_without_a_head():
    assert rows("1,2\n3,4\n", ["x", "y"]) == (
        ["x", "y"],
        [(1, ["1", "2"], ""), (2, ["3", "4"], "")],
    )


def test_a_bad_row_costs_itself():
    _, found = rows('a,b\n1,"open\n2,"fine, too"\n3,x,y\n4,"last\n')
    assert [(line, fields) for line, fields, _ in found] == [
        (2, []),
        (3, ["2", "fine, too"]),
        (4, []),
        (5, []),
    ]
    assert "3 fields, and the head has 2" in found[2][2]
    assert "not closed" in found[3][2]

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nucleus_data.errors import RequestError
from nucleus_data.views.labels import number_of, read_labels, truth_of


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        *((value, True) for value in (True, 1, 1.0, "1", "TRUE", " yes ")),
        *((value, False) for value in (False, 0, 0.0, "0", "false", "No")),
        *((value, None) for value in (None, "", "perhaps", 2, 0.5, float("nan"))),
    ],
)
def test_a_label_is_true_false_or_none(written, meant):
    assert truth_of(written) is meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [(3, 3.0), ("2.5", 2.5), (None, None), ("", None), ("inf", None), (float("nan"), None)],
)
def test_a_number_is_finite_or_none(written, meant):
    assert number_of(written) == meant


def test_ids_and_keys_stay_texts_whatever_they_look_like(tmp_path):
    (tmp_path / "a.csv").write_text("key,rating,rater,more\n007,3,1,x\n,4,2,y\n")
    rows = read_labels(tmp_path / "a.csv", "rating", ("rater",))
    assert rows == [
        {"key": "007", "rating": 3, "rater": "1"},
        {"key": None, "rating": 4, "rater": "2"},
    ]
    pq.write_table(pa.table({"id": ["a"], "rating": [1]}), tmp_path / "a.parquet")
    assert read_labels(tmp_path / "a.parquet", "rating", ("rater",)) == [{"id": "a", "rating": 1}]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"id,rating\n1\n", "can't be read: CSV parse error"),
        ("a.csv", b"id,id,rating\n1,2,3\n", "can't be read"),
        ("a.csv", b"id,rating\n\xff,3\n", "can't be read"),
        ("a.csv", b"", "can't be read"),
        ("a.csv", b"\n", "can't be read"),
        ("a.parquet", b"id,rating", "can't be read"),
        ("a.json", b"{}", r"must end in \.csv or \.parquet"),
        ("a.csv", b"name,rating\n1,2\n", r"has the columns name, rating; required: id \(or key\)"),
    ],
)
def test_a_table_that_is_none_is_said(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RequestError, match=said):
        read_labels(tmp_path / name, "rating")

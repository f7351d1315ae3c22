from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nucleus_data.errors import RequestError
from tests.support.ingested import ingest, put, rows, tiny


def captions(corpus):
    return {row["key"]: row["source.caption"] for row in rows(corpus)}


def test_metadata_files_as_dataset_hubs_lay_them_out(corpus, tmp_path):
    names = ["train/0.png", "train/sub/1.png", "test/2.png", "test/3.png"]
    source = put(tmp_path / "p", {name: tiny(i) for i, name in enumerate(names)})
    put(
        source,
        {"train/metadata.csv": "file_name,text,n\n0.png,zero,1\nsub/1.png,one,2\n9.png,x,3\n"},
    )
    table = pa.table({"file_name": ["2.png"], "text": [["two", "a two"]]})
    pq.write_table(table, source / "test/metadata.parquet")
    put(source, {"test/3.txt": "beside"})
    plan = ingest(corpus, source)
    assert captions(corpus) == {
        "train/0.png": "zero",
        "train/sub/1.png": "one",
        "test/2.png": "two",
        "test/3.png": "beside",
    }
    assert plan.skipped == {}
    assert next(row["source.captions"] for row in rows(corpus)) == ["two", "a two"]
    assert plan.notes == [
        "3 images have a row in test/metadata.parquet, train/metadata.csv",
        "1 rows of the captions table match no image of the folder",
    ]


def test_a_metadata_file_without_file_names_is_another_file(corpus, tmp_path):
    source = put(tmp_path / "p", {"a.png": tiny(1), "metadata.csv": "x,y\n1,2\n"})
    plan = ingest(corpus, source)
    assert (plan.skipped, captions(corpus)) == ({".csv": 1}, {"a.png": None})


def test_a_metadata_file_that_cannot_be_read_costs_itself_alone(corpus, tmp_path):
    source = put(tmp_path / "p", {"a.png": tiny(1), "metadata.parquet": "no Parquet"})
    plan = ingest(corpus, source)
    assert (plan.skipped, captions(corpus)) == ({".parquet": 1}, {"a.png": None})
    assert "metadata.parquet' cannot be read" in plan.notes[0]


def test_metadata_files_whose_columns_have_other_types(corpus, tmp_path):
    files = {"a.png": tiny(1), "b/c.png": tiny(2)}
    files["metadata.csv"] = "file_name,text,year,more\na.png,x,1999,5\n"
    source = put(tmp_path / "p", files)
    more = pa.array([{"k": 1}])
    table = pa.table({"file_name": ["c.png"], "year": [date(2020, 1, 2)], "more": more})
    pq.write_table(table, source / "b/metadata.parquet")
    ingest(corpus, source)
    found = {row["key"]: (row["source.year"], row["source.more"]) for row in rows(corpus)}
    assert found == {"a.png": ("1999", "5"), "b/c.png": ("2020-01-02", '{"k":1}')}


def test_a_named_captions_table_is_the_only_one(corpus, tmp_path):
    source = put(tmp_path / "p", {"a.png": tiny(1), "metadata.csv": "file_name,text\na.png,no\n"})
    put(tmp_path, {"c.csv": "file,caption\na.png,yes\n"})
    plan = ingest(corpus, source, captions=str(tmp_path / "c.csv"))
    assert (plan.skipped, captions(corpus)) == ({".csv": 1}, {"a.png": "yes"})


def test_a_damaged_row_of_a_captions_table_is_counted(corpus, tmp_path):
    source = put(tmp_path / "p", {"a.png": tiny(1), "b.png": tiny(2)})
    put(tmp_path, {"c.csv": "file,caption\na.png,yes\nb.png,no,no\n"})
    plan = ingest(corpus, source, captions=str(tmp_path / "c.csv"))
    assert captions(corpus) == {"a.png": "yes", "b.png": None}
    assert plan.notes[0].startswith("1 rows of the captions table cannot be read: c.csv line 3")


def test_a_damaged_stretch_of_metadata_that_nobody_asked_for_costs_no_picture(corpus, tmp_path):
    put(tmp_path, {"p/a.png": tiny(1)})
    file, rows_ = tmp_path / "p/metadata.parquet", 5000
    texts = [f"a text {n}" for n in range(rows_)]
    pq.write_table(pa.table({"file_name": ["a.png"] * rows_, "text": texts}), file)
    start = pq.read_metadata(file).row_group(0).column(1).dictionary_page_offset + 100
    data = file.read_bytes()
    file.write_bytes(data[:start] + bytes(500) + data[start + 500 :])
    plan = ingest(corpus, tmp_path / "p")
    (note,) = [note for note in plan.notes if "cannot be read" in note]
    assert "p/metadata.parquet cannot be read: " in note
    assert [row["key"] for row in rows(corpus)] == ["a.png"]


def test_a_damaged_stretch_of_the_captions_table_is_told_before_anything_is_claimed(
    corpus, tmp_path
):
    put(tmp_path, {f"p/{n:02d}.png": tiny(n) for n in range(4)})
    file = tmp_path / "c.parquet"
    table = pa.table({"file": [f"{n:02d}.png" for n in range(4)], "caption": ["a cat"] * 4})
    pq.write_table(table, file, row_group_size=2, use_dictionary=False)
    chunk = pq.read_metadata(file).row_group(1).column(1)
    data, start = bytearray(file.read_bytes()), chunk.data_page_offset
    data[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    file.write_bytes(data)
    with pytest.raises(RequestError, match=r"^ingest\.captions=\S+ cannot be read: ") as told:
        ingest(corpus, tmp_path / "p", captions=str(file))
    assert "the damage is in rows 3 to 4, of 4: write the others to a new file" in str(told.value)
    assert not corpus.store.list("claims")

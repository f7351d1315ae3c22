import csv
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nucleus_data.corpus.images import read_images
from nucleus_data.errors import RequestError
from nucleus_data.hashing import record_id
from nucleus_data.stages.ingest.claims import claim_numbers
from tests.support.ingested import ingest_counted, put, rows, tiny


def test_a_folder_with_sidecar_captions(corpus, tmp_path):
    source = put(
        tmp_path / "pictures",
        {
            "b.png": tiny(1),
            "a/b.png": tiny(2),
            "a/c.JPG": tiny(3, "jpeg"),
            "a/c.txt": "\ufeff a cat\n",
            "b.txt": "   \n",
            "notes.txt": "belongs to no picture",
            "drawing.svg": "<svg/>",
            ".hidden.png": tiny(4),
            ".git/x.png": tiny(4),
            "Überraschung 🐈.webp": tiny(5, "webp"),
        },
    )
    plan, counts = ingest_counted(corpus, source)
    assert (plan.found, plan.new, plan.already, plan.new_shards) == (4, 4, 0, 1)
    assert plan.skipped == {".svg": 1, ".txt": 1}
    assert plan.todo == [0]
    assert counts[0]["rows"] == counts[0]["images"] == 4
    found = rows(corpus)
    assert [row["key"] for row in found] == ["a/b.png", "a/c.JPG", "b.png", "Überraschung 🐈.webp"]
    assert [row["source.caption"] for row in found] == [None, "a cat", None, None]
    assert [row["source.extension"] for row in found] == ["png", "jpg", "png", "webp"]
    assert [row["row"] for row in found] == [0, 1, 2, 3]
    assert found[0]["id"] == record_id("pictures", "a/b.png") != found[2]["id"]
    assert found[0]["file"] == f"{found[0]['id']}.png"
    assert all(row["error"] is None and row["retryable"] is False for row in found)
    footer = next(iter(corpus.records.metadata(0)))
    images = list(read_images(corpus.store, 0, corpus.records.read(0), int(footer["tar_size"])))
    assert images == [tiny(2), tiny(3, "jpeg"), tiny(1), tiny(5, "webp")]
    assert list((tmp_path / "corpus" / "incoming").iterdir()) == []


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_captions_table(corpus, tmp_path, kind):
    source = put(
        tmp_path / "p",
        {"a.png": tiny(1), "d/b.png": tiny(2), "c.png": tiny(3), "a.txt": "x"},
    )
    put(source, {"c.txt": "from the sidecar"})
    table = pa.table(
        {
            "File_Name": ["./a.png", "d/b.png", "d/b.png", "gone.png"],
            "TEXT": [" one ", "two", "again", "three"],
            "licence": ["CC0", "CC-BY", "CC-BY", "CC0"],
            "likes": [1, 2, 3, 4],
        }
    )
    captions = source / f"captions.{kind}"
    if kind == "parquet":
        pq.write_table(table, captions)
    else:
        with captions.open("w", newline="") as file:
            writer = csv.DictWriter(file, table.column_names)
            writer.writeheader()
            writer.writerows(table.to_pylist())
    plan, _ = ingest_counted(corpus, source, captions=str(captions))
    found = {row["key"]: row for row in rows(corpus)}
    assert found["a.png"]["source.caption"] == "one"
    assert found["d/b.png"]["source.caption"] == "two"
    assert found["c.png"]["source.caption"] == "from the sidecar"
    assert found["d/b.png"]["source.licence"] == "CC-BY"
    assert found["d/b.png"]["source.likes"] == 2
    assert found["c.png"]["source.likes"] is None
    assert "1 rows of the captions table repeat a file name" in plan.notes[0]
    assert "1 rows of the captions table match no image" in plan.notes[1]
    assert plan.skipped == {}


def test_wrong_captions_tables_are_refused(corpus, tmp_path):
    source = put(tmp_path / "p", {"a.png": tiny(1)})
    put(tmp_path, {"no_file.csv": "x,caption\n1,b\n", "other.csv": "file,caption\nz.png,b\n"})
    with pytest.raises(RequestError, match=r"its columns are x, caption.*ingest.file_column"):
        ingest_counted(corpus, source, captions=str(tmp_path / "no_file.csv"))
    with pytest.raises(RequestError, match="matches an image"):
        ingest_counted(corpus, source, captions=str(tmp_path / "other.csv"))
    with pytest.raises(RequestError, match=r"caption_column='nix'.*file, caption"):
        ingest_counted(corpus, source, captions=str(tmp_path / "other.csv"), caption_column="nix")
    with pytest.raises(RequestError, match="no such file"):
        ingest_counted(corpus, source, captions=str(tmp_path / "missing.csv"))


def test_folders_without_images_are_refused(corpus, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(RequestError, match="no images; the folder is empty"):
        ingest_counted(corpus, empty)
    other = put(
        tmp_path / "o", {"a.svg": "", "b/c.svg": "", "d.svg": "", "README": "", "e.txt": ""}
    )
    with pytest.raises(RequestError, match=r"found 5 files .* \.svg 3, \(none\) 1, \.txt 1"):
        ingest_counted(corpus, other)
    with pytest.raises(RequestError, match="no such file or folder"):
        ingest_counted(corpus, tmp_path / "nowhere")
    assert claim_numbers(corpus.store) == []


def test_links_that_lead_out_are_not_followed(corpus, tmp_path):
    put(tmp_path, {"secret/s.png": tiny(9)})
    source = put(tmp_path / "p", {"real.png": tiny(1), "d/e.png": tiny(2)})
    (source / "inside.png").symlink_to(source / "real.png")
    (source / "out.png").symlink_to(tmp_path / "secret" / "s.png")
    (source / "outdir").symlink_to(tmp_path / "secret")
    (source / "circle").symlink_to(source)
    (source / "circle2").symlink_to(source / "d")
    plan, _ = ingest_counted(corpus, source)
    assert [row["key"] for row in rows(corpus)] == ["d/e.png", "inside.png", "real.png"]
    assert "3 symbolic links out of" in plan.notes[0]
    assert "1 symbolic links to folders" in plan.notes[1]


def test_names_that_are_no_utf8(corpus, tmp_path):
    source = put(tmp_path / "p", {"a.png": tiny(1)})
    name = os.fsencode(source) + b"/\xff\xfe.png"
    with open(name, "wb") as file:  # noqa: PTH123
        file.write(tiny(2))
    ingest_counted(corpus, source)
    assert [row["key"] for row in rows(corpus)] == [r"\xff\xfe.png", "a.png"]
    assert all(row["error"] is None for row in rows(corpus))

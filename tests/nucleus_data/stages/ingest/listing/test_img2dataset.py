import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nucleus_data.errors import RequestError
from tests.support.ingested import images, ingest, put_tar, rows, tiny


def img2dataset_folder(folder, *, drop=()):
    """Two shards as img2dataset 1.47 writes them (webdataset, no re-encoding)."""
    folder.mkdir(parents=True)
    for shard in range(2):
        members, table = [], []
        for i in range(3):
            key = f"{shard:05d}{i:04d}"
            row = {
                "url": f"http://h/{i}.gif?x=1.png",
                "caption": f" caption {key} ",
                "key": key,
                "status": "success",
                "error_message": None,
                "sha256": "0" * 64,
                "exif": "{}",
                "original_width": 4,
            }
            if i == 1:
                row |= {
                    "status": "failed_to_download",
                    "error_message": "HTTP Error 404: Not Found",
                }
            elif key not in drop:
                members += [(f"{key}.jpg", tiny(shard * 3 + i)), (f"{key}.txt", b"x")]
                members.append((f"{key}.json", json.dumps(row).encode()))
            table.append(row)
        put_tar(folder / f"{shard:05d}.tar", members)
        pq.write_table(pa.Table.from_pylist(table[::-1]), folder / f"{shard:05d}.parquet")
        (folder / f"{shard:05d}_stats.json").write_text("{}")
    return folder


def test_img2dataset_output(corpus, tmp_path):
    source = img2dataset_folder(tmp_path / "laion", drop=("000010002",))
    plan = ingest(corpus, source)
    assert (plan.kind, plan.found, plan.source) == ("img2dataset", 6, "laion")
    found = rows(corpus)
    assert [row["key"] for row in found][:2] == ["00000/000000000", "00000/000000001"]
    reasons = [row["error"] for row in found]
    assert reasons == [None, "http_404", None, None, "http_404", "missing_file"]
    assert found[1]["detail"] == "HTTP Error 404: Not Found"
    assert found[1]["retryable"] is False
    assert found[4]["source.caption"] == "caption 000010001"
    assert found[0]["source.url"] == "http://h/0.gif?x=1.png"
    assert found[0]["source.extension"] == "gif"
    assert found[0]["source.original_width"] == 4
    assert found[0]["source.sha256"] != found[0]["sha256"]
    assert images(corpus) == [tiny(0), tiny(2), tiny(3)]


def test_img2dataset_output_that_was_cut(corpus, tmp_path):
    source = img2dataset_folder(tmp_path / "laion")
    tar = source / "00000.tar"
    with tarfile.open(tar) as opened:
        last = opened.getmember("000000002.jpg")
    tar.write_bytes(tar.read_bytes()[: last.offset_data + 3])
    (source / "00001.parquet").unlink()  # the download was killed: its tar is read as it is
    plan = ingest(corpus, source)
    found = rows(corpus)
    assert [row["error"] for row in found] == [None, "http_404", "tar_truncated", None, None]
    assert [row["source.status"] for row in found][3:] == ["success", "success"]
    assert plan.found == 5


def test_a_tar_of_img2dataset_that_is_missing(corpus, tmp_path):
    source = img2dataset_folder(tmp_path / "laion")
    (source / "00001.tar").unlink()
    ingest(corpus, source)
    reasons = [row["error"] for row in rows(corpus)]
    assert reasons == [None, "http_404", None, "missing_file", "http_404", "missing_file"]


def test_img2dataset_needs_its_columns(corpus, tmp_path):
    put_tar(tmp_path / "f" / "0.tar", [("a.png", tiny())])
    pq.write_table(pa.table({"a": [1]}), tmp_path / "f" / "0.parquet")
    with pytest.raises(RequestError, match=r"no column key, status; its columns are a"):
        ingest(corpus, tmp_path / "f")
    (tmp_path / "f" / "0.parquet").write_bytes(b"no parquet")
    with pytest.raises(RequestError, match=r"0\.parquet cannot be read"):
        ingest(corpus, tmp_path / "f")

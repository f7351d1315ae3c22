import codecs
import os

import pytest
from pydantic import ValidationError

from nucleus_data.stages.ingest.claims import read_claim
from nucleus_data.stages.ingest.settings import IngestSettings
from nucleus_data.stages.ingest.texts import MOST_CHARACTERS
from tests.support.ingested import ingest_counted, put, rows, tiny


def captions(corpus):
    return {row["key"]: row["source.caption"] for row in rows(corpus)}


def test_the_name_up_to_its_last_dot_pairs(corpus, tmp_path):
    source = put(
        tmp_path / "p",
        {
            "22.05.png": tiny(1),
            "22.05.txt": "of May",
            "22.06.png": tiny(2),
            "22.06.PNG.TXT": "another name",
            "a.png": tiny(3),
            "a.caption": "a caption",
            "b.png": tiny(4),
            "b.png.txt": "by its whole name",
            "c.png": tiny(5),
            "c.TXT": "in capitals",
            "d/e.png": tiny(6),
            "d/e.json": '{"caption": "of JSON", "likes": 3}',
            "f.png": tiny(7),
            "f.png.JSON": '{"likes": 4}',
        },
    )
    plan, _ = ingest_counted(corpus, source)
    assert captions(corpus) == {
        "22.05.png": "of May",
        "22.06.png": None,
        "a.png": "a caption",
        "b.png": "by its whole name",
        "c.png": "in capitals",
        "d/e.png": "of JSON",
        "f.png": None,
    }
    likes = {row["key"]: row["source.likes"] for row in rows(corpus)}
    assert (likes["d/e.png"], likes["f.png"]) == (3, 4)
    assert plan.skipped == {".txt": 1}
    assert plan.notes == ["of these, 1 caption files belong to no picture: .txt 1"]


def test_of_several_captions_one_is_taken_and_the_others_are_counted(corpus, tmp_path):
    source = put(tmp_path / "p", {"a.jpg": tiny(1), "a.png": tiny(2), "b.png": tiny(3)})
    put(source, {"a.txt": "of both", "a.png.caption": "of the PNG", "a.png.txt": "of it, first"})
    put(source, {"b.caption": "last", "b.TXT": "second", "b.txt": "first"})
    plan, _ = ingest_counted(corpus, source)
    assert captions(corpus) == {"a.jpg": "of both", "a.png": "of it, first", "b.png": "first"}
    assert plan.notes == ["3 caption files were ignored: their picture has another one"]


def test_encodings_of_captions_are_read_or_counted(corpus, tmp_path):
    texts = {
        "utf16": "ein Kätzchen".encode("utf-16"),
        "utf16be": codecs.BOM_UTF16_BE + "ein Kätzchen".encode("utf-16-be"),
        "nul": b"a cat\0\0 on a mat",
        "latin": "ein Kätzchen".encode("latin-1"),
        "unmarked": "a cat".encode("utf-16-le"),
        "long": b"x" * (MOST_CHARACTERS + 1),
        "plain": b"a cat",
    }
    source = put(tmp_path / "p", {f"{n}.png": tiny(i) for i, n in enumerate(texts)})
    put(source, {f"{name}.txt": data for name, data in texts.items()})
    _, counts = ingest_counted(corpus, source, images_per_shard=100)
    found = {row["key"].removesuffix(".png"): row for row in rows(corpus)}
    assert {name: row["source.caption"] for name, row in found.items()} == {
        "utf16": "ein Kätzchen",
        "utf16be": "ein Kätzchen",
        "nul": "a cat on a mat",
        "latin": None,
        "unmarked": None,
        "long": None,
        "plain": "a cat",
    }
    assert found["latin"]["source.caption_error"] == "caption_encoding"
    assert found["plain"]["source.caption_error"] is None
    assert counts[0]["captions"] == {"caption_encoding": 2, "caption_too_long": 1}
    assert counts[0]["images"] == 7
    ingest_counted(corpus, source, name="again", caption_encoding="latin-1")
    assert [r["source.caption"] for r in rows(corpus) if r["key"] == "latin.png"][-1] == (
        "ein Kätzchen"
    )


def test_an_encoding_that_python_does_not_know_is_refused():
    with pytest.raises(ValidationError, match=r"unknown text encoding 'utf9'"):
        IngestSettings(caption_encoding="utf9")
    with pytest.raises(ValidationError, match="unknown text encoding"):
        IngestSettings(caption_encoding="base64")


def test_claims_of_plain_folders_are_as_they_were(corpus, tmp_path):
    """No column and no setting is added where all captions are `<stem>.txt` in UTF-8."""
    source = put(tmp_path / "p", {"a.png": tiny(1), "a.txt": "a"})
    ingest_counted(corpus, source)
    claim = read_claim(corpus, 0)
    assert claim.rows.column_names[-1] == "retryable"
    assert "caption_encoding" not in claim.origin.settings
    assert "source.caption_error" not in rows(corpus)[0]


def test_a_caption_that_goes_away_is_counted(corpus, tmp_path):
    from nucleus_data.stages.ingest.build import build_shard
    from nucleus_data.stages.ingest.plan import plan_ingest

    source = put(tmp_path / "p", {"a.png": tiny(1), "a.txt": "a", "b.png": tiny(2)})
    plan_ingest(corpus, IngestSettings(source=str(source)))
    (source / "a.txt").unlink()
    assert build_shard(corpus, 0)["captions"] == {"caption_missing": 1}


def test_odd_names_are_records_or_counted(corpus, tmp_path):
    source = put(
        tmp_path / "p",
        {
            "new\nline.png": tiny(1),
            "new\nline.txt": "two lines",
            "bell\x07\x1b[31m.png": tiny(2),
            ".hidden.png": tiny(3),
            ".folder/x.png": tiny(3),
            "-rf.png": tiny(4),
            "*?[].png": tiny(5),
            "'; DROP.png": tiny(6),
        },
    )
    raw = os.fsencode(source) + b"/\xff"
    for suffix, data in ((b".png", tiny(7)), (b".txt", b"of raw bytes")):
        with open(raw + suffix, "wb") as file:  # noqa: PTH123
            file.write(data)
    os.mkfifo(source / "pipe.png")
    deep = source
    for _ in range(60):
        deep /= "deep"
    put(deep, {"x.png": tiny(8)})
    plan, _ = ingest_counted(corpus, source)
    found = captions(corpus)
    assert len(found) == 7
    assert found["new\nline.png"] == "two lines"
    assert found[r"\xff.png"] == "of raw bytes"
    assert plan.notes == [
        "2 hidden files and folders (with a leading dot) were skipped",
        "1 sockets, pipes and devices were skipped",
    ]

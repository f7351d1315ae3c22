"""Pictures whose names do not end as pictures' names do: their bytes decide."""

import fsspec
import pytest

from nucleus_data.corpus.store import Store
from nucleus_data.errors import RequestError
from nucleus_data.stages.ingest.listing import folder
from nucleus_data.stages.ingest.listing.formats import (
    HEAD,
    hint,
    is_unclear,
    shows_image,
    stem,
)
from nucleus_data.stages.ingest.listing.walk import File, heads, walk
from tests.support.ingested import images, ingest, put, put_tar, rows, tiny

ODD = (
    "a.jpg?w=200",
    "b.jpg_large",
    "c.jpeg!d",
    "d",
    "e.f/g",
    "at 10.22.05",
    "h.jpg?v=1.2",
    "i.php",
    "k.png~",
)
JPEG = tiny(3, "jpeg")


def source_of(odd=ODD):
    """Files with those names that are pictures, and others that look like them by name alone."""
    pictures = {name: tiny(number, "jpeg") for number, name in enumerate(odd)}
    texts = {
        "README": "BM is no bitmap, and this is a text",
        "Makefile": "all:\n",
        "LICENSE.jpg_not": "no picture either",
        "x.nef": tiny(9, "tiff"),
        "y.npy": tiny(9, "jpeg"),
        "empty": b"",
    }
    return pictures, texts


def test_a_folder_of_odd_names(corpus, tmp_path):
    pictures, texts = source_of()
    plan = ingest(corpus, put(tmp_path / "p", pictures | texts))
    assert [row["key"] for row in rows(corpus)] == sorted(pictures)
    assert images(corpus) == [pictures[name] for name in sorted(pictures)]
    assert plan.skipped == {"(none)": 4, ".nef": 1, ".npy": 1}
    declared = {row["key"]: row["source.extension"] for row in rows(corpus)}
    assert declared["a.jpg?w=200"] == declared["b.jpg_large"] == "jpg"
    assert declared["c.jpeg!d"] == "jpeg"
    assert declared["d"] is declared["e.f/g"] is None
    assert all(row["file"].endswith(".jpg") for row in rows(corpus))


def test_their_captions_are_found_by_the_stem_and_by_the_name(corpus, tmp_path):
    beside = {
        "a.txt": "by a",
        "b.jpg_large.txt": "by b's name",
        "d.txt": "by d",
        "e.txt": "nobody's, though the folder is called e.f",
        "e.f/g.txt": "by g",
        "at 10.22.05.txt": "by the whole name",
        "h.jpg?v=1.txt": "up to the last dot",
        "k.json": '{"caption": "by k", "likes": 3}',
    }
    ingest(corpus, put(tmp_path / "p", source_of()[0] | beside))
    found = {row["key"]: row["source.caption"] for row in rows(corpus)}
    assert found == {
        "a.jpg?w=200": "by a",
        "b.jpg_large": "by b's name",
        "c.jpeg!d": None,
        "d": "by d",
        "e.f/g": "by g",
        "at 10.22.05": "by the whole name",
        "h.jpg?v=1.2": "up to the last dot",
        "i.php": None,
        "k.png~": "by k",
    }


def test_names_without_an_ending_need_no_paths_of_their_captions_in_the_claim(corpus, tmp_path):
    ingest(corpus, put(tmp_path / "p", {"e.f/g": JPEG, "e.f/g.txt": "by g", "d": JPEG}))
    assert [row["source.caption"] for row in rows(corpus)] == [None, "by g"]


def test_a_tar_of_odd_names(corpus, tmp_path):
    pictures, texts = source_of()
    members = [
        *pictures.items(),
        *((n, d if isinstance(d, bytes) else d.encode()) for n, d in texts.items()),
    ]
    plan = ingest(
        corpus, put_tar(tmp_path / "t.tar", [*members, ("d.txt", b"by d"), ("._x", JPEG)])
    )
    assert plan.skipped == {"(none)": 4, ".nef": 1, ".npy": 1, "(hidden)": 1}
    assert images(corpus) == list(pictures.values())
    found = {row["key"]: row["source.caption"] for row in rows(corpus)}
    assert found["t/d"] == "by d"
    assert found["t/e.f/g"] is None


def test_a_folder_of_nameless_pictures_with_a_tar_beside_them_is_asked_about(corpus, tmp_path):
    put_tar(tmp_path / "m" / "a.tar", [("a.png", tiny())])
    put(tmp_path / "m", {"4f2a9c": JPEG, "sub/x": JPEG, "notes": "a text"})
    with pytest.raises(RequestError, match="contains 1 tars and 1 images"):
        ingest(corpus, tmp_path / "m")


def test_an_object_store_is_read_alike(corpus):
    fs = fsspec.filesystem("memory")
    pictures, texts = source_of(
        ODD[:1] + ODD[3:5]
    )  # a memory file system takes `!` and `~` as well
    try:
        for name, data in (pictures | texts).items():
            fs.pipe(f"/nameless/{name}", data if isinstance(data, bytes) else data.encode())
        plan = ingest(corpus, "memory://nameless")
        assert [row["key"] for row in rows(corpus)] == sorted(pictures)
        assert plan.skipped == {"(none)": 4, ".nef": 1, ".npy": 1}
    finally:
        fs.rm("/nameless", recursive=True)


def test_what_cannot_be_looked_at_is_said(corpus, tmp_path, monkeypatch):
    source = put(tmp_path / "p", {"a.png": tiny(), "b": JPEG})
    store = Store(str(source))
    gone = [File(b"b", 4, None), File(b"gone", 4, None), File(b"a.png", 4, None)]
    assert list(heads(store, gone)) == [JPEG[:HEAD], None, tiny()]

    def walk_past(root, left_out):
        yield from walk(root, left_out)
        yield File(b"gone", 4, None)  # it was there when it was listed

    monkeypatch.setattr(folder, "walk", walk_past)
    plan = ingest(corpus, source)
    assert (plan.found, plan.skipped) == (2, {})
    assert plan.notes == ["1 files and folders could not be read"]


def test_what_names_and_first_bytes_say():
    assert [hint(n) for n in ("x.JPG_large", "x.tar.gz", "x.05", "jpg", "a.b/c")] == [
        "jpg",
        "gz",
        "05",
        None,
        None,
    ]
    assert [is_unclear(n) for n in ("x", "x.jpg", "x.npy", "x.dat")] == [True, False, False, True]
    assert stem(b"a.b/c") == b"a.b/c"
    assert stem(b"a.b/c.d.e") == b"a.b/c.d"
    for kind in ("jpeg", "png", "gif", "webp", "bmp", "tiff", "avif"):
        assert shows_image(tiny(1, kind)[:HEAD])
    assert shows_image(b"qoif" + bytes(20))  # a picture, though none that is read
    for data in (
        b"",
        b"BMW",
        b"\xff\x0a" + bytes(9),
        b"%PDF-1.4",
        b"<svg/>",
        b"\0\0\0\x18ftypmp42",
    ):
        assert not shows_image(data)

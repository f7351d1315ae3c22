import io
import json
import os
import tarfile
import time

import pytest

from nucleus_data.stages.ingest.plan import plan_ingest
from nucleus_data.stages.ingest.settings import IngestSettings
from nucleus_data.stages.ingest.sidecars import INVALID, NOT_TEXT
from tests.support.ingested import images, ingest, put_tar, rows, tar_bytes, tiny
from tests.support.quick import quick
from tests.support.tars import END, member, pax


def test_webdataset_samples(corpus, tmp_path):
    fields = {
        "likes": 3,
        "score": 0.5,
        "mixed": "x",
        "tags": ["a", "b"],
        "caption": "json's",
        "huge": 1 << 70,
        "nothing": None,
    }
    put_tar(
        tmp_path / "t" / "x.tar",
        [
            ("a.jpg", tiny(1)),
            ("a.txt", b" the text's \n"),
            ("a.json", json.dumps(fields).encode()),
            ("dir/b.v2.png", tiny(2)),
            ("dir/b.json", b'{"caption": "json\'s", "likes": 4, "score": 1, "mixed": 7}'),
            ("c.webp", tiny(3, "webp")),
            ("c.json", b"not json"),
            ("d.png", tiny(4)),
            ("d.json", b'{"odd": "\\ud800", "caption": ""}'),
            ("e.cls", b"7"),
            ("README", b"hello"),
        ],
    )
    plan = ingest(corpus, tmp_path / "t" / "x.tar")
    assert (plan.source, plan.kind, plan.found) == ("x", "tars", 4)
    assert plan.skipped == {".cls": 1, "(none)": 1}
    found = rows(corpus)
    assert [row["key"] for row in found] == ["x/a", "x/dir/b", "x/c", "x/d"]
    assert [row["source.caption"] for row in found] == ["the text's", "json's", None, None]
    assert [row["source.likes"] for row in found] == [3, 4, None, None]
    assert [row["source.score"] for row in found] == [0.5, 1.0, None, None]
    assert [row["source.mixed"] for row in found] == ["x", "7", None, None]
    assert found[0]["source.tags"] == '["a", "b"]'
    assert found[0]["source.huge"] == str(1 << 70)
    assert found[3]["source.odd"] == ""
    assert "source.nothing" not in found[0]
    assert [row["source.extension"] for row in found] == ["jpg", "png", "webp", "png"]
    assert found[0]["file"].endswith(".png")  # what it is, not what it was called
    assert images(corpus) == [tiny(1), tiny(2), tiny(3, "webp"), tiny(4)]


def beside(folder):
    """What lies in a folder, but for the corpus, and beside it."""
    found = {path for path in folder.rglob("*") if "corpus" not in str(path)}
    return {*found, *folder.parent.iterdir()}


def test_names_are_never_paths(corpus, tmp_path):
    names = ["../../evil.png", "/etc/passwd.png", "a/../b.png", "ü.png", ".png", "x" * 200 + ".png"]
    put_tar(tmp_path / "t.tar", [(name, tiny(i)) for i, name in enumerate(names)])
    before = beside(tmp_path)
    ingest(corpus, tmp_path / "t.tar")
    assert before == beside(tmp_path)
    found = rows(corpus)
    assert [row["key"] for row in found][:4] == ["t/../../evil", "t//etc/passwd", "t/a/../b", "t/ü"]
    assert all(row["error"] is None for row in found)
    with tarfile.open(tmp_path / "corpus" / "images" / "000000.tar") as tar:
        assert {name.partition(".")[0] for name in tar.getnames()} == {row["id"] for row in found}


@pytest.mark.slow
def test_keys_that_come_again_are_other_records(corpus, tmp_path):
    members = [("a.png", tiny(1)), ("b.png", tiny(2)), ("a.png", tiny(3))]
    put_tar(tmp_path / "t" / "1.tar", [*members, ("a.jpg", tiny(4, "jpeg"))])
    put_tar(tmp_path / "t" / "2.tar", members[:1])
    plan = ingest(corpus, tmp_path / "t")
    assert plan.found == 5
    assert [row["key"] for row in rows(corpus)] == ["1/a", "1/b", "1/a.1", "1/a.2", "2/a"]
    assert len({row["id"] for row in rows(corpus)}) == 5
    assert plan_ingest(corpus, IngestSettings(source=str(tmp_path / "t"))).new == 0
    put_tar(tmp_path / "t" / "3.tar", members)
    assert ingest(corpus, tmp_path / "t").new == 3


@pytest.mark.parametrize("cut", quick(["data", "header", "end", "garbage"], {"data", "garbage"}))
def test_a_cut_tar_keeps_what_is_readable(corpus, tmp_path, cut):
    whole = tar_bytes([(f"{i}.png", tiny(i)) for i in range(4)])
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        last = tar.getmembers()[-1]
    damaged, left = {
        "data": (whole[: last.offset_data + 10], 3),
        "header": (whole[: last.offset + 100], 3),
        "end": (whole[: last.offset_data + 512], 4),
        "garbage": (whole[: last.offset] + b"\xee" * 512 + whole[last.offset_data :], 3),
    }[cut]
    (tmp_path / "t.tar").write_bytes(damaged)
    plan = ingest(corpus, tmp_path / "t.tar")
    assert plan.found == left + 1
    found = rows(corpus)
    assert [row["error"] for row in found] == [None] * left + ["tar_truncated"]
    assert found[-1]["key"] == "t.tar"
    assert found[-1]["detail"]
    assert images(corpus) == [tiny(i) for i in range(left)]
    (tmp_path / "t.tar").write_bytes(whole)
    assert ingest(corpus, tmp_path / "t.tar").new == 4 - left


def test_limit_stops_the_listing_early(corpus, tmp_path):
    for number in range(3):
        put_tar(tmp_path / "t" / f"{number}.tar", [(f"{i}.png", tiny(i)) for i in range(3)])
    plan = plan_ingest(corpus, IngestSettings(source=str(tmp_path / "t")), limit=4)
    assert (plan.found, plan.new) == (4, 4)


def captions(corpus):
    return {row["key"]: row["source.caption"] for row in rows(corpus)}


def test_captions_by_whole_stem_beside_the_picture_or_apart(corpus, tmp_path):
    names = ("22.05", "22.06", "22.07")
    apart = [(f"{n}.png", tiny(i)) for i, n in enumerate(names)]
    apart += [(f"{n}.txt", n.encode()) for n in reversed(names)]
    put_tar(tmp_path / "t" / "apart.tar", apart)
    put_tar(tmp_path / "t" / "beside.tar", sorted(apart))
    plan = ingest(corpus, tmp_path / "t")
    assert (plan.skipped, plan.notes) == ({}, [])
    assert captions(corpus) == {
        f"{tar}/{name}": name for tar in ("apart", "beside") for name in names
    }


def test_what_a_tar_leaves_over_is_counted_and_said(corpus, tmp_path):
    put_tar(
        tmp_path / "t" / "x.tar",
        [
            ("a.jpg", tiny(1)),
            ("a.mask.png", tiny(2)),
            ("a.txt", b"a"),
            ("a.caption", b"again"),
            ("b.txt", b"of nothing"),
            ("._a.jpg", b"what macOS keeps"),
            (".git/c.jpg", tiny(3)),
            ("x.weird-ending", b""),
        ],
    )
    (tmp_path / "t" / "sizes.json").write_text("{}")
    (tmp_path / "t" / "more").mkdir()
    plan = ingest(corpus, tmp_path / "t")
    assert captions(corpus) == {"x/a": "a", "x/a.mask": None}
    assert plan.skipped == {
        ".caption": 1,
        ".txt": 1,
        "(hidden)": 2,
        "(none)": 2,
        ".json": 1,
    }
    said = "\n".join(plan.lines())
    assert "1 captions or JSON files in tars were ignored: no picture has" in said
    assert "'x/b.txt'" in said
    assert "their picture has another one (the first: 'x/a.caption')" in said
    assert "1 pictures in tars are further ones" in said
    assert "'x/a.mask.png'" in said


def test_a_member_that_is_no_file_is_a_record_with_a_reason(corpus, tmp_path):
    tar = tmp_path / "t.tar"
    odd = [
        member(b"link.png", kind=b"1", link=b"a.png"),
        member(b"link.txt", kind=b"2", link=b"a.txt"),
        pax((b"size", b"-1")) + member(b"size.png", tiny(2)),
        pax((b"path", b"odd\x1b\0\xff.png")) + member(b"p", tiny(3)),
        member(b"folder/", kind=b"5"),
    ]
    tar.write_bytes(member(b"a.png", tiny(1)) + b"".join(odd) + member(b"z.png", tiny(4)) + END)
    plan = ingest(corpus, tar)
    assert plan.skipped == {"(no file)": 1}
    found = {row["key"]: (row["error"], row["detail"]) for row in rows(corpus)}
    assert found == {
        "t/a": (None, None),
        "t/link": ("tar_member", "a hard link to 'a.png'"),
        "t/size": ("tar_member", "its size is '-1' in an extended header"),
        "t/odd\x1b\0\\xff": (None, None),
        "t/z": (None, None),
    }
    assert images(corpus) == [tiny(1), tiny(3), tiny(4)]


SIDECARS = {
    "nested": b"[" * 50_000 + b"]" * 50_000,
    "nested_objects": b'{"a":' * 50_000,
    "no_object": b"[1]",
    "digits": b'{"n": ' + b"9" * 10_000 + b"}",
    "not_a_number": b'{"n": NaN, "m": 1e999}',
    "twice": b'{"n": 1, "n": 2}',
    "surrogate": b'{"n": "\\ud800", "\\udfff": 3}',
    "keys": json.dumps({f"k{i}": i for i in range(20_000)}).encode(),
    "key": json.dumps(
        {"k" * 1_000_000: 1, "": 2, "\0": 3, "source.row": 4, "K": 1, "k": 2}
    ).encode(),
    "captions": b'{"caption": ["first", 2, "second"]}',
    "reason": b'{"caption_error": "mine", "columns_left_out": "mine", "error": "mine"}',
    "bytes": b"\xff\xfe\xfd" * 999,
    "empty": b"",
}


def test_no_json_costs_a_picture(corpus, tmp_path):
    members = [
        (f"{n}.{s}", d) for n, j in SIDECARS.items() for s, d in (("png", tiny()), ("json", j))
    ]
    put_tar(tmp_path / "t.tar", [*members, ("good.png", tiny()), ("good.json", b'{"likes": 3}')])
    started = time.process_time()
    ingest(corpus, tmp_path / "t.tar")
    assert time.process_time() - started < 8
    found = {row["key"].removeprefix("t/"): row for row in rows(corpus)}
    assert {row["error"] for row in found.values()} == {None}
    assert found["good"]["source.likes"] == 3
    reasons = {name: row["source.caption_error"] for name, row in found.items()}
    wrong = dict.fromkeys(("nested", "nested_objects", "no_object", "bytes", "empty"), INVALID)
    assert reasons == {**dict.fromkeys(found), **wrong, "captions": NOT_TEXT}
    assert found["captions"]["source.caption"] == "first"
    assert found["captions"]["source.captions"] == ["first", "second"]
    assert found["digits"]["source.n"] == "9" * 10_000
    assert found["reason"]["source.caption_error_upstream"] == "mine"
    # 256 columns, the most frequent ones first; each record says how many values it lacks.
    assert found["keys"]["source.columns_left_out"] > 20_000 - 256
    kept = [name for name in found["keys"] if name.startswith("source.k")]
    assert 200 < len(kept) <= 256
    left_out = [row["source.columns_left_out"] or 0 for row in found.values()]
    query = f'SELECT sum("source.columns_left_out") FROM {corpus.records.sql()}'
    assert corpus.connection().sql(query).fetchall() == [(sum(left_out),)]


def test_a_limit_changes_no_key_and_no_caption(corpus, tmp_path):
    members = [(f"22.{i}.png", tiny(i)) for i in range(5)]
    put_tar(tmp_path / "t.tar", members + [(f"22.{i}.txt", b"%d" % i) for i in range(5)])
    plan_ingest(corpus, IngestSettings(source=str(tmp_path / "t.tar")), limit=2)
    ingest(corpus, tmp_path / "t.tar")
    assert captions(corpus) == {f"t/22.{i}": str(i) for i in range(5)}


def test_a_tar_that_cannot_be_opened_costs_itself_alone(corpus, tmp_path):
    put_tar(tmp_path / "t" / "good.tar", [("a.png", tiny())])
    (tmp_path / "t" / "bad.tar").mkdir()
    (tmp_path / "t" / "empty.tar").write_bytes(b"")
    put_tar(tmp_path / "t" / "UPPER.TAR", [("a.png", tiny(1))])
    ingest(corpus, tmp_path / "t")
    found = {row["key"]: row["error"] for row in rows(corpus)}
    assert found == {
        "UPPER/a": None,
        "bad.tar": "tar_truncated",
        "empty.tar": "tar_truncated",
        "good/a": None,
    }


@pytest.mark.parametrize("whole", [True, False])
def test_a_tar_whose_own_name_is_no_utf_8_is_read(corpus, tmp_path, whole):
    (tmp_path / "tars").mkdir()
    data = tar_bytes([("a.png", tiny()), ("a.txt", b"caption"), ("b.png", tiny(2))])
    place = tmp_path / "tars" / os.fsdecode(b"\xff.tar")
    place.write_bytes(data if whole else data[:2000])
    ingest(corpus, tmp_path / "tars")
    found = {row["key"]: row["source.caption"] for row in rows(corpus) if row["error"] is None}
    if whole:
        assert found == {"\\xff/a": "caption", "\\xff/b": None}
    else:
        assert found == {"\\xff/a": "caption"}
        assert [row["key"] for row in rows(corpus) if row["error"]] == ["\\xff.tar"]

import io
import json
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleus_data.stages.ingest import IngestSettings, plan_ingest
from nucleus_data.stages.ingest.listing.tar_walk import TarWalk
from tests.support.ingested import images, ingest, put_tar, rows, tar_bytes, tiny


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


def test_names_are_never_paths(corpus, tmp_path):
    names = ["../../evil.png", "/etc/passwd.png", "a/../b.png", "ü.png", ".png", "x" * 200 + ".png"]
    put_tar(tmp_path / "t.tar", [(name, tiny(i)) for i, name in enumerate(names)])
    before = {path for path in tmp_path.parent.rglob("*") if "corpus" not in str(path)}
    ingest(corpus, tmp_path / "t.tar")
    assert before == {path for path in tmp_path.parent.rglob("*") if "corpus" not in str(path)}
    found = rows(corpus)
    assert [row["key"] for row in found][:4] == ["t/../../evil", "t//etc/passwd", "t/a/../b", "t/ü"]
    assert all(row["error"] is None for row in found)
    with tarfile.open(tmp_path / "corpus" / "images" / "000000.tar") as tar:
        assert {name.partition(".")[0] for name in tar.getnames()} == {row["id"] for row in found}


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


def test_listing_reads_no_image(corpus, tmp_path):
    # An image's bytes are garbage for tarfile, and far larger than what the listing may read.
    path = put_tar(tmp_path / "t.tar", [(f"{i}.png", bytes(3 << 20)) for i in range(4)])

    class Counting(io.FileIO):
        read_bytes = 0

        def read(self, size=-1):
            data = super().read(size)
            Counting.read_bytes += len(data)
            return data

    with Counting(path) as file:
        assert len(list(TarWalk(file, path.stat().st_size))) == 4
    assert Counting.read_bytes < 20_000


@pytest.mark.parametrize("cut", ["data", "header", "end", "garbage"])
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


@settings(max_examples=80)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 1500)), max_size=6),
    st.integers(0, 12_000),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_a_walk_finds_a_prefix_and_notices_every_cut(members, cut, kind):
    content = [(f"{'ü' * 60 * long}{i}.png", bytes(n)) for i, (long, n) in enumerate(members)]
    whole = tar_bytes(content, format=kind)
    data = whole[:cut]
    walk = TarWalk(io.BytesIO(data), len(data))
    found = list(walk)
    whole_walk = TarWalk(io.BytesIO(whole), len(whole))
    expected = list(whole_walk)
    assert [(m.name, m.size) for m in expected] == [(name, len(data)) for name, data in content]
    assert whole_walk.damage is None
    assert found == expected[: len(found)]
    assert walk.damage is not None or found == expected

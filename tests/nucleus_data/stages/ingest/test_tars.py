import io
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.images import read_images
from nucleus_data.errors import CorpusError, RequestError
from nucleus_data.stages.ingest import IngestSettings, build_shard, plan_ingest
from nucleus_data.stages.ingest.listing.formats import extension, member_extension, sniffed
from nucleus_data.stages.ingest.listing.tars import TarWalk
from nucleus_data.stages.ingest.reasons import download_reason, is_retryable


def picture(number=0, suffix="png"):
    data = io.BytesIO()
    Image.new("RGB", (4, 4), (number, 0, 7)).save(data, suffix)
    return data.getvalue()


def tar_bytes(members, **options):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", **options) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return data.getvalue()


def put_tar(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tar_bytes(members))
    return path


def ingest(corpus, source, **more):
    plan = plan_ingest(corpus, IngestSettings(source=str(source), **more))
    for number in plan.todo:
        build_shard(corpus, number)
    return plan


def rows(corpus):
    tables = [corpus.records.read(number) for number in corpus.shards()]
    return [row for table in tables for row in table.to_pylist()]


def images(corpus, number=0):
    records = corpus.records.read(number)
    records = records.filter(records["error"].is_null())
    footer = next(iter(corpus.records.metadata(number)))
    return list(read_images(corpus.store, number, records, int(footer["tar_size"])))


@pytest.fixture
def corpus(tmp_path):
    return Corpus(str(tmp_path / "corpus"), create=True)


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
            ("a.jpg", picture(1)),
            ("a.txt", b" the text's \n"),
            ("a.json", json.dumps(fields).encode()),
            ("dir/b.v2.png", picture(2)),
            ("dir/b.json", b'{"caption": "json\'s", "likes": 4, "score": 1, "mixed": 7}'),
            ("c.webp", picture(3, "webp")),
            ("c.json", b"not json"),
            ("d.png", picture(4)),
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
    assert found[3]["source.odd"] == "?"
    assert "source.nothing" not in found[0]
    assert [row["source.extension"] for row in found] == ["jpg", "png", "webp", "png"]
    assert found[0]["file"].endswith(".png")  # what it is, not what it was called
    assert images(corpus) == [picture(1), picture(2), picture(3, "webp"), picture(4)]


def test_names_are_never_paths(corpus, tmp_path):
    names = ["../../evil.png", "/etc/passwd.png", "a/../b.png", "ü.png", ".png", "x" * 200 + ".png"]
    put_tar(tmp_path / "t.tar", [(name, picture(i)) for i, name in enumerate(names)])
    before = {path for path in tmp_path.parent.rglob("*") if "corpus" not in str(path)}
    ingest(corpus, tmp_path / "t.tar")
    assert before == {path for path in tmp_path.parent.rglob("*") if "corpus" not in str(path)}
    found = rows(corpus)
    assert [row["key"] for row in found][:4] == ["t/../../evil", "t//etc/passwd", "t/a/../b", "t/ü"]
    assert all(row["error"] is None for row in found)
    with tarfile.open(tmp_path / "corpus" / "images" / "000000.tar") as tar:
        assert {name.partition(".")[0] for name in tar.getnames()} == {row["id"] for row in found}


def test_keys_that_come_again_are_other_records(corpus, tmp_path):
    members = [("a.png", picture(1)), ("b.png", picture(2)), ("a.png", picture(3))]
    put_tar(tmp_path / "t" / "1.tar", [*members, ("a.jpg", picture(4, "jpeg"))])
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
    assert Counting.read_bytes < 10_000


@pytest.mark.parametrize("cut", ["data", "header", "end", "garbage"])
def test_a_cut_tar_keeps_what_is_readable(corpus, tmp_path, cut):
    whole = tar_bytes([(f"{i}.png", picture(i)) for i in range(4)])
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
    assert images(corpus) == [picture(i) for i in range(left)]
    (tmp_path / "t.tar").write_bytes(whole)
    assert ingest(corpus, tmp_path / "t.tar").new == 4 - left


def test_tars_that_are_not_there(corpus, tmp_path):
    with pytest.raises(RequestError, match=r"t\.tar.*no such file"):
        ingest(corpus, tmp_path / "t.tar")
    put_tar(tmp_path / "00000.tar", [("a.png", picture())])
    with pytest.raises(RequestError, match=r"2 of 3 files are missing: 00001\.tar, 00002\.tar"):
        ingest(corpus, tmp_path / "{00000..00002}.tar")
    with pytest.raises(RequestError, match="no file matches"):
        ingest(corpus, tmp_path / "x*.tar")
    assert ingest(corpus, tmp_path / "{00000..00000}.tar").found == 1


def test_a_tar_that_vanishes_fails_its_shard(corpus, tmp_path):
    path = put_tar(tmp_path / "t.tar", [("a.png", picture())])
    plan = plan_ingest(corpus, IngestSettings(source=str(path)))
    data = path.read_bytes()
    path.unlink()
    with pytest.raises(CorpusError, match=r"t\.tar is gone"):
        build_shard(corpus, plan.todo[0])
    path.write_bytes(data[:515])
    with pytest.raises(CorpusError, match="shorter"):
        build_shard(corpus, plan.todo[0])
    path.write_bytes(data)
    assert build_shard(corpus, plan.todo[0])["images"] == 1


def test_sources_that_cannot_be_told(corpus, tmp_path):
    for name in ("x.tar.gz", "x.tgz"):
        with pytest.raises(RequestError, match="compressed tars are not supported"):
            ingest(corpus, tmp_path / name)
    put_tar(tmp_path / "m" / "a.tar", [("a.png", picture())])
    (tmp_path / "m" / "b.png").write_bytes(picture())
    with pytest.raises(RequestError, match="holds 1 tars and 1 images"):
        ingest(corpus, tmp_path / "m")
    assert ingest(corpus, tmp_path / "m", kind="tars").found == 1
    (tmp_path / "x.doc").write_bytes(b"")
    with pytest.raises(RequestError, match=r"cannot tell what 'x\.doc' is"):
        ingest(corpus, tmp_path / "x.doc")
    put_tar(tmp_path / "n.tar", [("a.svg", b"")])
    with pytest.raises(RequestError, match=r"no images in the tars; found \.svg 1"):
        ingest(corpus, tmp_path / "n.tar")
    with pytest.raises(RequestError, match="is no folder"):
        ingest(corpus, tmp_path / "n.tar", kind="folder")


def test_limit_stops_the_listing_early(corpus, tmp_path):
    for number in range(3):
        put_tar(tmp_path / "t" / f"{number}.tar", [(f"{i}.png", picture(i)) for i in range(3)])
    plan = plan_ingest(corpus, IngestSettings(source=str(tmp_path / "t")), limit=4)
    assert (plan.found, plan.new) == (4, 4)


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
                members += [(f"{key}.jpg", picture(shard * 3 + i)), (f"{key}.txt", b"x")]
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
    assert images(corpus) == [picture(0), picture(2), picture(3)]


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
    put_tar(tmp_path / "f" / "0.tar", [("a.png", picture())])
    pq.write_table(pa.table({"a": [1]}), tmp_path / "f" / "0.parquet")
    with pytest.raises(RequestError, match=r"no column key, status; its columns are a"):
        ingest(corpus, tmp_path / "f")
    (tmp_path / "f" / "0.parquet").write_bytes(b"no parquet")
    with pytest.raises(RequestError, match=r"0\.parquet cannot be read"):
        ingest(corpus, tmp_path / "f")


@pytest.mark.parametrize(
    ("message", "reason", "retryable"),
    [
        ("HTTP Error 404: Not Found", "http_404", False),
        ("HTTP Error 503: Service Unavailable", "http_503", True),
        ("HTTP Error 429: Too Many Requests", "http_429", True),
        ("<urlopen error timed out>", "timeout", True),
        ("<urlopen error [Errno -2] Name or service not known>", "dns", True),
        ("<urlopen error [Errno 111] Connection refused>", "connection", True),
        ("<urlopen error private_address: h is at 10.0.0.1>", "private_address", False),
        ("Use of image disallowed by X-Robots-Tag directive", "robots", False),
        ("certificate verify failed", "tls", False),
        ("Image decoding error", "undecodable_upstream", False),
        ("something new", "download_failed", True),
    ],
)
def test_reasons(message, reason, retryable):
    assert download_reason(message) == reason
    assert is_retryable(reason) is retryable


def test_formats():
    for suffix, pillow in (("png", "png"), ("jpg", "jpeg"), ("webp", "webp"), ("gif", "gif")):
        assert sniffed(picture(1, pillow)) == suffix
    assert sniffed(picture(1, "tiff")) == "tiff"
    assert sniffed(picture(1, "avif")) == "avif"
    assert sniffed(b"") is None
    assert member_extension(b"?", None) == member_extension(b"?", "../x") == "bin"
    assert extension("a/b.c/D.JPeG") == "jpeg"
    assert extension("a/.png") is extension("noext") is extension("a.b c") is None


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

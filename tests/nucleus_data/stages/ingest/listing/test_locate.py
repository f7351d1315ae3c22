import pytest

from nucleus_data.errors import RequestError
from tests.support.ingested import ingest, put, put_tar, tiny


def test_tars_that_are_not_there(corpus, tmp_path):
    with pytest.raises(RequestError, match=r"t\.tar.*no such file"):
        ingest(corpus, tmp_path / "t.tar")
    put_tar(tmp_path / "00000.tar", [("a.png", tiny())])
    with pytest.raises(RequestError, match=r"2 of 3 files are missing: 00001\.tar, 00002\.tar"):
        ingest(corpus, tmp_path / "{00000..00002}.tar")
    with pytest.raises(RequestError, match="no file matches"):
        ingest(corpus, tmp_path / "x*.tar")
    assert ingest(corpus, tmp_path / "{00000..00000}.tar").found == 1


def test_sources_that_cannot_be_told(corpus, tmp_path):
    for name in ("x.tar.gz", "x.tgz", "X.TAR.ZST", "x.tar.bz2", "x.txz"):
        with pytest.raises(RequestError, match="compressed tars are not supported"):
            ingest(corpus, tmp_path / name)
    put_tar(tmp_path / "m" / "a.tar", [("a.png", tiny())])
    (tmp_path / "m" / "b.png").write_bytes(tiny())
    with pytest.raises(RequestError, match="contains 1 tars and 1 images"):
        ingest(corpus, tmp_path / "m")
    assert ingest(corpus, tmp_path / "m", kind="tars").found == 1
    (tmp_path / "x.doc").write_bytes(b"")
    with pytest.raises(RequestError, match=r"cannot tell what 'x\.doc' is"):
        ingest(corpus, tmp_path / "x.doc")
    put_tar(tmp_path / "n.tar", [("a.svg", b"")])
    with pytest.raises(RequestError, match=r"no images in the tars; found \.svg 1"):
        ingest(corpus, tmp_path / "n.tar")
    with pytest.raises(
        RequestError, match=r"matches pictures, such as 'b\.png'. Give their folder"
    ):
        ingest(corpus, tmp_path / "m" / "*.png")
    with pytest.raises(RequestError, match="is not a folder"):
        ingest(corpus, tmp_path / "n.tar", kind="folder")


def test_compressed_tars_are_named_wherever_they_are(corpus, tmp_path):
    put_tar(tmp_path / "m" / "a.tar", [("a.png", tiny())])
    for name in ("b.tar.zst", "c.tar.zst"):
        (tmp_path / "m" / name).write_bytes(b"")
    wanted = r"not supported \(found 2, such as 'b\.tar\.zst'\).*unzstd, or select .*\*\.tar"
    for source in (tmp_path / "m", tmp_path / "m" / "*"):
        with pytest.raises(RequestError, match=wanted):
            ingest(corpus, source)
    assert ingest(corpus, tmp_path / "m" / "*.tar").found == 1
    (tmp_path / "m" / "a.tar").unlink()
    with pytest.raises(RequestError, match=wanted):
        ingest(corpus, tmp_path / "m")
    (tmp_path / "m" / "a.png").write_bytes(tiny())
    assert ingest(corpus, tmp_path / "m", name="n").skipped == {".zst": 2}  # a folder of pictures


@pytest.mark.parametrize("pattern", ["*", "?.png", "{0..2}.png", "**/*.png"])
def test_a_pattern_of_pictures_is_told_to_be_their_folder(corpus, tmp_path, pattern):
    put(tmp_path, {f"{n}.png": tiny() for n in range(3)})
    with pytest.raises(RequestError, match=r"matches pictures, such as '0\.png'. Give their"):
        ingest(corpus, f"{tmp_path}/{pattern}")

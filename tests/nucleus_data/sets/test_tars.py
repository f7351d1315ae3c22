import hashlib
import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleus_data.sets.tars import TarWriter, header


@given(st.text("abcdef0123456789.", min_size=1, max_size=100), st.integers(0, 8**11 - 1))
def test_a_header_is_the_one_that_tarfile_writes(name, size):
    info = tarfile.TarInfo(name)
    info.mode, info.size = 0o644, size
    assert header(name, size) == info.tobuf(tarfile.USTAR_FORMAT)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.binary(max_size=2000), max_size=8))
def test_a_tar_is_the_one_that_tarfile_writes(tmp_path_factory, contents):
    file = tmp_path_factory.mktemp("tar") / "a.tar"
    stream = io.BytesIO()
    with TarWriter(file) as tar, tarfile.open(fileobj=stream, mode="w", format=0) as plain:
        for number, content in enumerate(contents):
            offset = tar.add(f"{number}.bin", content)
            info = tarfile.TarInfo(f"{number}.bin")
            info.mode, info.size = 0o644, len(content)
            plain.addfile(info, io.BytesIO(content))
            assert stream.getvalue()[offset : offset + len(content)] == content
    data = file.read_bytes()
    assert data == stream.getvalue()
    assert (tar.size, tar.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_a_name_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match="at most 100 characters"):
        header("a" * 101, 1)

import hashlib
import io
import json
import tarfile

import pytest

from nucleus_data.corpus.tar_names import OUTCOMES
from nucleus_data.stages.ingest.shard_tar import ShardTar, read_shard_tar

IMAGES = {f"{n:032x}.png": bytes([n]) * (700 * n) for n in range(1, 4)}


def write(path):
    with ShardTar(path) as tar:
        for name, data in IMAGES.items():
            tar.add(name, data)
        tar.add(OUTCOMES, json.dumps({"rows": {"3": {"error": "http_404"}}}).encode())
    return path


def test_what_is_written_is_read_back(tmp_path):
    path = write(tmp_path / "a.tar")
    content = read_shard_tar(path)
    assert content.outcomes == {3: {"error": "http_404"}}
    assert [found["file"] for found in content.images.values()] == list(IMAGES)
    whole = path.read_bytes()
    for name, found in zip(IMAGES, content.images.values(), strict=True):
        assert whole[found["offset"] : found["offset"] + found["size"]] == IMAGES[name]
        assert found["sha256"] == hashlib.sha256(IMAGES[name]).hexdigest()
    assert list(content.images) == [name.removesuffix(".png") for name in IMAGES]


def test_the_same_images_give_the_same_bytes(tmp_path):
    assert write(tmp_path / "a.tar").read_bytes() == write(tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert {(m.mtime, m.uid, m.uname, m.mode) for m in tar} == {(0, 0, "", 0o644)}


def test_a_cut_tar_is_refused(tmp_path):
    path = write(tmp_path / "a.tar")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"."):
        read_shard_tar(path)


def test_it_is_what_tarfile_writes(tmp_path):
    members = [(f"{n}.jpg", bytes([n % 256]) * n) for n in (0, 1, 511, 512, 513, 40_000)]
    with ShardTar(tmp_path / "ours.tar") as tar:
        for name, data in members:
            tar.add(name, data)
    with tarfile.open(tmp_path / "theirs.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o644
            tar.addfile(info, io.BytesIO(data))
    assert (tmp_path / "ours.tar").read_bytes() == (tmp_path / "theirs.tar").read_bytes()

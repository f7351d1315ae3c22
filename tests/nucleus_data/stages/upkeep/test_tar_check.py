"""A byte of a tar that is another one is found, and it is known which sample it is of."""

import io
from pathlib import Path

import pyarrow as pa
import pytest

from nucleus_data.stages.upkeep.tar_check import check_tar
from tests.support.upkept import corpus_with_set

STEP = 13


@pytest.fixture(scope="module")
def tar(tmp_path_factory):
    """Bytes, the manifest's entry, and the index of a tar of three samples."""
    _, folder = corpus_with_set(tmp_path_factory.mktemp("c"), 1, 3, side=(16, 16))
    (entry,) = folder.manifest()
    return Path(folder.url(entry.path)).read_bytes(), entry, folder.index(entry.path)


def faults(data, entry, index, **options):
    return check_tar(io.BytesIO(data), entry, index, **options).faults


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def owner(index, at):
    """The sample that a byte is of, with its headers; none behind the last one."""
    for row in index.to_pylist():
        end = row["json_offset"] + row["json_size"] + -row["json_size"] % 512
        if at < end:
            return row["id"]
    return ""


def test_a_whole_one(tar):
    assert faults(*tar) == []


@pytest.mark.slow
def test_every_byte_is_of_a_sample(tar):
    data, entry, index = tar
    untold = 0
    for at in range(0, len(data), STEP):
        found = faults(flipped(data, at), entry, index, decode=False)
        assert found, at
        if [fault.kind for fault in found] == ["tar_changed"]:
            untold += 1  # in what the corpus alone knows: URL, licence, sizes, SHA-256
            assert b"sha256" in data[at - 300 : at + 300]
        else:
            assert {fault.sample for fault in found} == {owner(index, at)}, at
    assert untold < len(data) / STEP / 20


def test_lost_and_added_bytes(tar):
    data, entry, index = tar
    assert "tar_size" in {fault.kind for fault in faults(data[:-512], entry, index)}
    assert "tar_size" in {fault.kind for fault in faults(data + bytes(512), entry, index)}
    kinds = {fault.kind for fault in faults(data[: len(data) // 3], entry, index)}
    assert {"tar_size", "picture_changed"} & kinds


def test_a_picture_that_does_not_decode_or_is_of_another_size(tar):
    data, entry, index = tar
    rows = index.to_pylist()
    rows[1]["width"] = 8
    found = faults(data, entry, pa.Table.from_pylist(rows, index.schema))
    assert {(fault.kind, fault.sample) for fault in found} == {
        ("picture_size", rows[1]["id"]),
        ("json_changed", rows[1]["id"]),
    }

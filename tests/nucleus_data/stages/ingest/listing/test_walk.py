import os
import subprocess
from collections import Counter
from datetime import UTC, datetime

from nucleus_data.corpus.store import Store
from nucleus_data.stages.ingest.listing.walk import UNREADABLE, told_time, walk
from tests.support.ingested import put


def test_a_copy_that_keeps_its_old_time_is_a_change(tmp_path):
    put(tmp_path, {"a": b"1"})
    os.utime(tmp_path / "a", (0, 0))
    (file,) = walk(Store(str(tmp_path)), Counter())
    assert file.changed == (tmp_path / "a").stat().st_ctime > 0


def test_folders_deeper_than_pythons_stack(tmp_path):
    deep = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("d", dir_fd=deep)
        deeper = os.open("d", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = deeper
    os.close(os.open("x.png", os.O_CREAT | os.O_WRONLY, dir_fd=deep))
    os.close(deep)
    left_out = Counter()
    files = list(walk(Store(str(tmp_path)), left_out))
    subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)  # shutil's way is a recursion
    assert [file.path for file in files] == [b"d/" * 1100 + b"x.png"]
    assert left_out == {}


def test_a_path_that_is_too_long_for_the_system_is_counted(tmp_path):
    deep = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=deep)
        deeper = os.open("d" * 250, os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = deeper
    os.close(deep)
    left_out = Counter()
    assert list(walk(Store(str(tmp_path)), left_out)) == []
    assert left_out == {UNREADABLE: 1}


def test_the_times_of_stores():
    noon = datetime(2026, 1, 2, 12, tzinfo=UTC)
    assert told_time({"name": "x", "LastModified": noon}) == noon.timestamp()
    assert told_time({"mtime": 3}) == 3.0
    assert told_time({"ETag": "x", "size": 4}) is None

"""A full disk: nothing committed is harmed, and the message says what to do.

On a small tmpfs, so root only.
"""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.commands import nucleus, tree
from tests.support.worlds import write_pictures

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def small_disk(tmp_path) -> Path:
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False
        ).returncode
    ):
        pytest.skip("mounting a tmpfs needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_harms_nothing(small_disk, tmp_path):
    write_pictures(tmp_path / "pictures", 120, seed=4)
    log = tmp_path / "log.txt"
    corpus = small_disk / "corpus"
    command = (
        "ingest",
        f"corpus={corpus}",
        f"ingest.source={tmp_path}/pictures",
        "ingest.images_per_shard=10",
    )
    said = nucleus(*command, log=log, code=1)
    assert "the disk is full" in said
    assert "run the same command again" in said
    before = {k: v for k, v in tree(corpus).items() if k.startswith(("images", "tables"))}
    assert before, "something was committed before the disk was full"
    assert not [name for name in tree(corpus) if name.endswith(".part")]
    subprocess.run(["mount", "-o", "remount,size=100m", str(small_disk)], check=True)
    nucleus(*command, log=log)
    after = tree(corpus)
    assert {name: after[name] for name in before} == before
    assert "120 rows found, 120 already" in nucleus(*command, log=log)

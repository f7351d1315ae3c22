"""Four real processes, and one to four of them in a group."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.loading import STREAMS, Opened
from tests.support.sets import make_set


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_batches_are_equal_for_one_to_four_processes_with_other_workers(tmp_path):
    folder = make_set(tmp_path / "set", {"64/1x1": 30, "64/4x3": 9}).url()
    out = tmp_path / "found.json"
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4"]
    module = ["-m", "tests.support.loading_ranks", folder, str(out), "12"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *torchrun, *module], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(out.read_text())
    for name, order in (("exact", {}), ("streams", STREAMS)):
        whole = Opened(folder, holdout_share=0.2, **order).batches(12)
        wanted = [
            [cursor.epoch, cursor.batch, sorted(map(list, zip(ids, captions, strict=True)))]
            for cursor, _, ids, captions, _ in whole
        ]
        for size in (1, 2, 3, 4):
            assert found[f"{name} {size}"] == wanted, (name, size)

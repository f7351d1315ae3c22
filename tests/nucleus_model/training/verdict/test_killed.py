"""A comparison whose processes are killed in the middle of runs, against one that is left alone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nucleus_model.training.verdict.run import LOSSES
from tests.support.model import colored_items, write_set

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[4]
# A process of its own, whose workers are processes as well.
CODE = """
import sys
from nucleus_model.settings.verdict import VerdictSettings
from nucleus_model.training.verdict.compare import compare
from nucleus_model.training.verdict.loops import processes
from nucleus_model.training.verdict.plan import Arm
sets, out, workers = sys.argv[1:]
from pathlib import Path
a, b, r = (Arm(f"{sets}/{name}", name=name) for name in ("a", "b", "reference"))
settings = VerdictSettings(preset="debug", replicates=3, pictures=8)
compare(a, b, Path(out), settings, reference=r, loop=processes(int(workers)))
"""


def start(sets, out, workers):
    command = [sys.executable, "-c", CODE, str(sets), str(out), str(workers)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    # A session of its own, so that it can be killed together with its workers.
    return subprocess.Popen(command, env=environment, cwd=ROOT, start_new_session=True)


def in_the_middle(out, done, since):
    """Whether `done` runs are finished and another has taken some of its 40 steps since a time."""
    runs = list(out.glob("runs/*"))
    finished = [run for run in runs if (run / LOSSES).exists()]
    files = [run / "metrics.jsonl" for run in runs if run not in finished]
    # A run that was killed leaves its lines until it is begun again.
    begun = [file for file in files if file.exists() and file.stat().st_mtime_ns > since]
    steps = [file.read_text().count("\n") for file in begun]
    return len(finished) >= done and any(5 <= count < 40 for count in steps)


def test_two_workers_that_are_killed_five_times_end_at_the_bytes_of_one_that_is_not(tmp_path):
    items = colored_items(48) + colored_items(16, (96, 48), 48)
    sets = {"a": items, "b": items[8:], "reference": colored_items(12, first=200)}
    for name, of in sets.items():
        write_set(tmp_path / "sets" / name, of)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start(tmp_path / "sets", whole, 1).wait() == 0
    for kill in range(5):
        since = time.time_ns()
        process = start(tmp_path / "sets", killed, 2)
        while process.poll() is None and not in_the_middle(killed, kill // 2, since):
            time.sleep(0.01)
        assert process.poll() is None, "ended before it was killed"
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not (killed / "verdict.json").exists()
    assert start(tmp_path / "sets", killed, 2).wait() == 0
    for name in ("verdict.json", "losses.parquet", "pictures.parquet"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes(), name

"""Processes that train: none outlives the command that started it."""

import subprocess
import sys
import time

import psutil
import pytest

SLEEPS = """
import time
from nucleus_model.training.verdict.loops import in_processes

if __name__ == "__main__":
    list(in_processes(time.sleep, [120, 120], 2))
"""


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_workers_end_soon_after_a_command_that_was_killed(tmp_path):
    (tmp_path / "sleeps.py").write_text(SLEEPS)
    command = subprocess.Popen([sys.executable, str(tmp_path / "sleeps.py")])
    parent = psutil.Process(command.pid)
    try:
        # Two workers, and the process in which multiprocessing tracks resources.
        while len(workers := parent.children()) < 3 or any(
            w.num_threads() < 2 for w in workers[1:]
        ):
            time.sleep(0.1)
        parent.kill()
        command.wait()
        _, alive = psutil.wait_procs(workers, timeout=30)
    finally:
        for process in [*workers, parent]:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                process.kill()
    assert not alive

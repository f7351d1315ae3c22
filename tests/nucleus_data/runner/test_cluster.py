import re
import subprocess
import sys

import pytest

from nucleus_data.errors import RequestError
from nucleus_data.runner.cluster import check_corpus_uri, inside_job
from tests.support.commands import environment
from tests.support.quick import quick


def test_a_relative_corpus_is_refused_inside_a_job_alone(monkeypatch):
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    assert not inside_job()
    check_corpus_uri("c")
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert inside_job()
    for absolute in ("/data/c", "s3://bucket/c", "memory://c"):
        check_corpus_uri(absolute)
    with pytest.raises(RequestError, match=r"corpus='\./c' is a relative path, which in a Ray job"):
        check_corpus_uri("./c")


# Connects to Ray, and does work while one of Ray's processes is killed; prints what was raised.
NOT_THERE = [
    ({"RAY_ADDRESS": "127.0.0.1:1"}, "Ray at '127.0.0.1:1' can't be reached (Connection"),
    ({"RAY_TMPDIR": "/proc/absent"}, "Ray can't be started (FileNotFoundError: [Errno 2]"),
    ({"RAY_ADDRESS": "ray://127.0.0.1:1"}, "Ray at 'ray://127.0.0.1:1' can't be reached ("),
    ({"ADDRESS": "nonsense"}, "Ray at 'nonsense' can't be reached (ValueError: Invalid"),
    ({"RAY_TMPDIR": f"/tmp/{'x' * 120}"}, "Ray can't be started (OSError: validate_socket_f"),
]
SCRIPT = """
import os, sys, threading, time, psutil
from nucleus_data.runner.cluster import RaySettings, connected
from nucleus_data.runner.work import Item, Resources, Summary

class Sleep:
    def run(self, number):
        time.sleep(1)
        return Summary(rows=1, done=1)

def kill():
    for child in psutil.Process().children(recursive=True):
        if sys.argv[1] in child.name():
            child.kill()
            return

try:
    with connected(RaySettings(address=os.environ.get("ADDRESS"), num_cpus=1)):
        from nucleus_data.runner.loop import Loop
        threading.Timer(3, kill).start()
        Loop("sleep", Sleep(), Resources()).run(Item(n) for n in range(100))
except Exception as error:
    print(f"{type(error).__name__}: {error}", flush=True)
os._exit(0)
"""


def raised(killed="nothing", **env):
    """What work on Ray raises, in a process of its own; all that it prints."""
    found = {k: v for k, v in environment().items() if k != "RAY_ADDRESS"}
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, killed],
        env={**found, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return ended.stdout + ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("env", "said"), quick(NOT_THERE, fast=1, arguments=2))
def test_a_ray_that_is_not_there_or_can_not_start_is_told(env, said):
    output = raised(**env)
    assert output.startswith(f"StoppedError: {said}")
    assert len(output.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("process", ["raylet", "gcs_server"])
def test_a_ray_that_dies_is_told_and_not_waited_for(process):
    output = raised(process)
    assert "Traceback" not in output
    # Ray may print the last lines of its log before it, if it notices in time.
    *_, told = output.splitlines()
    assert re.match(rf"(Lost|Stopped)Error: Ray's process {process} has ended \(", told), output
    assert "logs" not in told
    assert "kept. Run the same command again to continue" in output


@pytest.mark.slow
def test_sigterm_is_ours_again_once_ray_is_there():
    script = """
import signal
from nucleus_data.runner.cluster import RaySettings, connected
def ours(*_): raise KeyboardInterrupt
signal.signal(signal.SIGTERM, ours)
with connected(RaySettings(num_cpus=1)):
    assert signal.getsignal(signal.SIGTERM) is ours
"""
    subprocess.run([sys.executable, "-c", script], env=environment(), check=True, timeout=120)

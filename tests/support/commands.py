"""Running `nucleus` as people do: in a process of its own; and finding what that left behind."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).resolve().parents[2]
ENDED_WITHIN_S = 60
AGENTS_ENDED_WITHIN_S = 180


def environment() -> dict[str, str]:
    """This process's environment, so that workers find this code and these tests."""
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}


def start(*arguments: str, log: Path) -> subprocess.Popen:
    """Starts a command; its output goes to a file."""
    with log.open("a") as stream:
        command = [sys.executable, "-m", "nucleus_data.commands", *arguments]
        return subprocess.Popen(
            command, stdout=stream, stderr=subprocess.STDOUT, env=environment(), cwd=log.parent
        )


def nucleus(*arguments: str, log: Path, code: int = 0) -> str:
    """Runs a command to its end and returns what it printed."""
    before = log.stat().st_size if log.exists() else 0
    process = start(*arguments, log=log)
    found = process.wait(timeout=600)
    said = log.read_text()[before:]
    assert found == code, f"{arguments} ended with {found}, not {code}:\n{said}"
    return said


def tree(folder: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of every file below a folder."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def wait_for(condition, process: subprocess.Popen, log: Path) -> None:
    """Polls until the condition holds; fails if the process ends first."""
    while not condition():
        assert process.poll() is None, f"the command ended too early:\n{log.read_text()}"
        time.sleep(0.002)


def family(process: subprocess.Popen) -> list[psutil.Process]:
    """The process and all that it started."""
    parent = psutil.Process(process.pid)
    return [parent, *parent.children(recursive=True)]


def kill(process: psutil.Process) -> None:
    """Kill -9."""
    os.kill(process.pid, signal.SIGKILL)


def assert_ended(processes: list[psutil.Process]) -> None:
    """All of them end by themselves within a minute, Ray's two agents within three.

    An agent whose cluster was killed reports that to the cluster, which takes it 60 s to give up.
    """
    agents = [p for p in processes if is_agent(p)]
    others = [p for p in processes if p not in agents]
    assert not running(others, ENDED_WITHIN_S), "processes of ours are left"
    ending.extend(agents)


ending: list[psutil.Process] = []


def assert_agents_ended() -> None:
    """The agents of all clusters that were killed end too."""
    assert not running(ending, AGENTS_ENDED_WITHIN_S), "Ray's agents are left"


def is_agent(process: psutil.Process) -> bool:
    """Whether this is one of Ray's agents."""
    try:
        return process.cmdline()[:1] in (["ray::DashboardAgent"], ["ray::RuntimeEnvAgent"])
    except psutil.NoSuchProcess:
        return False


def running(processes: list[psutil.Process], timeout: float) -> list[str]:
    """Command lines of those that still run after some time."""
    _, alive = psutil.wait_procs(processes, timeout=timeout)
    return [
        " ".join(p.cmdline()).strip()
        for p in alive
        if p.is_running() and p.status() != psutil.STATUS_ZOMBIE
    ]

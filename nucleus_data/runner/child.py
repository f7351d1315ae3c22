"""A child process of ours: a fresh interpreter that runs a module, and a connection to it.

A fresh interpreter, not a fork: a forked child of a process with threads (Ray's, numba's) may wait
for a lock that nobody holds any more.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from types import MappingProxyType
from typing import IO

from nucleus_data.runner.cwd import stand_somewhere

PR_SET_PDEATHSIG = 1


class Child:
    """A running child.

    Args:
        module: What it runs; its `main` calls `connect_to_parent`.
        log: Where its output goes; by default to this process's.
        environment: Further environment variables, where they are not set.

    Attributes:
        connection: To it.
        pid: Its process id.
    """

    def __init__(
        self,
        module: str,
        log: IO[bytes] | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        ours, theirs = socket.socketpair()
        # What this process can import the child can too: a job's working directory is on a worker's
        # path only.
        env = {**environment, **os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=env,
        )
        theirs.close()
        self.connection = Connection(ours.detach())
        self.pid = self._process.pid

    def cause(self) -> str:
        """How it ended, for example `SIGSEGV` or `exit 1`; waits until it has."""
        code = self._process.wait()
        return signal.Signals(-code).name if code < 0 else f"exit {code}"

    def close(self) -> None:
        """Ends it."""
        self.connection.close()
        self._process.kill()
        self._process.wait()


def connect_to_parent() -> Connection:
    """The child's side: ends with its parent, leaves Ctrl-C to it, and returns the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":  # elsewhere a child of a killed parent ends when its socket closes
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    stand_somewhere()
    return Connection(int(sys.argv[1]))

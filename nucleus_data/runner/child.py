"""Child processes: a fresh interpreter that runs a module, with a connection to it.

They are not forked, since a forked child of a process with threads (Ray's, numba's) may wait
forever for a lock.
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
        module: The module to run; its `main` has to call `connect_to_parent`.
        log: Destination of its output; by default, that of this process.
        environment: Defaults for environment variables that are not set.

    Attributes:
        connection: The connection to it.
        pid: Its process id.
    """

    def __init__(
        self,
        module: str,
        log: IO[bytes] | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        ours, theirs = socket.socketpair()
        # Pass on the import path: a job's working directory is only on a worker's own sys.path.
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
        """Waits until it has ended; returns how, for example `SIGSEGV` or `exit 1`."""
        code = self._process.wait()
        return signal.Signals(-code).name if code < 0 else f"exit {code}"

    def close(self) -> None:
        """Kills it."""
        self.connection.close()
        self._process.kill()
        self._process.wait()


def connect_to_parent() -> Connection:
    """Connects a child to its parent; makes it end with the parent, and ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":  # elsewhere, the child ends when the socket is closed
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    stand_somewhere()
    return Connection(int(sys.argv[1]))
